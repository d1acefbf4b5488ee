# A site of a federation: SuperNode, executor and forwarder. It connects to the server and opens no port. docs/deploy.md explains it;
# docker/site.compose.yaml runs it. The context `kit` is the site's kit (`init --wheel`). Its .dockerignore admits the wheel and requirements.txt alone.
#   docker build -f docker/site.Dockerfile --build-context kit=kits/north -t effgan-site docker
ARG PYTHON=python:3.12.12-slim-bookworm
FROM ${PYTHON}
RUN useradd --create-home --uid 10001 effgan
WORKDIR /kit
RUN --mount=from=kit,target=/kit pip install --no-cache-dir --require-hashes -r requirements.txt
USER 10001
# The site's kit with its key and state, and its images, which are only read.
VOLUME ["/kit", "/data"]
CMD ["/kit/start.sh", "/data"]
