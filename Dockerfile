# One image for the consumer and the trainer; say which by the command. Build with the repository root as context:
#   docker build -t occustream .
#   docker run occustream occustream-trainer --help
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The folders are there, and are the user's, so that a named volume mounted over one is writable from the start.
RUN useradd --uid 10001 --create-home occustream \
    && install --directory --owner=occustream --group=occustream /registry /state

WORKDIR /app
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY schemas schemas
COPY consumer consumer
COPY trainer trainer

# Give this argument the address of an index of CPU builds of torch, and the image loses the gigabytes of CUDA.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --constraint constraints.txt ".[minilm]"
# Below the installation: a change here need not repeat it.
COPY deploy/feed.py deploy/feed.py

USER occustream
ENV OCCUSTREAM_REGISTRY=/registry
EXPOSE 9108 9109
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('OCCUSTREAM_HTTP_PORT', '9108') + '/livez', timeout=2)"]
# SIGTERM, which `docker stop` sends, drains; give it longer than OCCUSTREAM_DRAIN_TIMEOUT_S: docker stop --time 30.
CMD ["occustream-consumer", "run"]
