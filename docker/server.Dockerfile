# The server of a federation: SuperLink and SuperExec. docs/deploy.md says how it is run.
#   docker build -f docker/server.Dockerfile --build-context wheels=target/wheels -t effgan-server docker
FROM python:3.12-slim
RUN useradd --create-home --uid 10001 effgan
# The wheel of `make wheel`; it brings no other software than NumPy.
RUN --mount=from=wheels,target=/wheels pip install --no-cache-dir /wheels/effgan-*.whl "flwr==1.41.*"
USER 10001
# The folder server/ of `effgan federation init`, with the runs in it.
VOLUME /server
WORKDIR /server
EXPOSE 8000
CMD ["/server/start.sh"]
