# A site of a federation: one SuperNode. It calls the server and opens no port. docs/deploy.md says how it is run.
#   docker build -f docker/site.Dockerfile --build-context wheels=target/wheels -t effgan-site docker
FROM python:3.12-slim
RUN useradd --create-home --uid 10001 effgan
RUN --mount=from=wheels,target=/wheels pip install --no-cache-dir /wheels/effgan-*.whl "flwr==1.41.*"
USER 10001
# The site's kit with its key and state, and its images, which are read only.
VOLUME ["/kit", "/data"]
WORKDIR /kit
CMD ["/kit/start.sh", "/data"]
