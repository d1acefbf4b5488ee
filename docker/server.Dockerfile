# The server of a federation: gate, SuperLink and SuperExec. docker/server.compose.yaml runs it, as docs/deploy.md explains.
# The build context `kit` is the server folder or a kit made by `effgan federation init --wheel`; its .dockerignore admits wheel and requirements.txt.
#   docker build -f docker/server.Dockerfile --build-context kit=federation/server -t effgan-server docker
ARG PYTHON=python:3.12.12-slim-bookworm
FROM ${PYTHON}
RUN useradd --create-home --uid 10001 effgan
WORKDIR /kit
RUN --mount=from=kit,target=/kit pip install --no-cache-dir --require-hashes -r requirements.txt
USER 10001
# The folder server/ made by `effgan federation init`; runs go into it as well.
VOLUME /server
WORKDIR /server
EXPOSE 8000
CMD ["/server/start.sh"]
