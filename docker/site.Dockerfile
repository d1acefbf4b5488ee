# A site of a federation: SuperNode, executor and forwarder. It calls the server and opens no port. docker/site.compose.yaml runs it, as
# docs/deploy.md explains. The build context `kit` is the site's kit (`init --wheel`); its .dockerignore admits wheel and requirements.txt.
#   docker build -f docker/site.Dockerfile --build-context kit=kits/north -t effgan-site docker
ARG PYTHON=python:3.12.12-slim-bookworm
FROM ${PYTHON}
RUN useradd --create-home --uid 10001 effgan
WORKDIR /kit
RUN --mount=from=kit,target=/kit pip install --no-cache-dir --require-hashes -r requirements.txt
USER 10001
# The site's kit with its key and state, and its images, mounted read-only.
VOLUME ["/kit", "/data"]
CMD ["/kit/start.sh", "/data"]
