# The server of a federation: gate, SuperLink and SuperExec. docs/deploy.md explains it; docker/server.compose.yaml runs it.
# The context `kit` is the server's folder or a kit made by `effgan federation init --wheel`. Its .dockerignore admits the wheel and requirements.txt alone.
#   docker build -f docker/server.Dockerfile --build-context kit=federation/server -t effgan-server docker
ARG PYTHON=python:3.12.12-slim-bookworm
FROM ${PYTHON}
RUN useradd --create-home --uid 10001 effgan
WORKDIR /kit
RUN --mount=from=kit,target=/kit pip install --no-cache-dir --require-hashes -r requirements.txt
USER 10001
# The folder server/ made by `effgan federation init`; the runs are in it.
VOLUME /server
WORKDIR /server
EXPOSE 8000
CMD ["/server/start.sh"]
