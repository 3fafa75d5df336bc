# One image for the consumer and the trainer; say which by the command. Build with the repository root as context:
#   docker build -t occustream .
#   docker run occustream occustream-trainer --help
# Pin the base image by digest, and take packages from an index with a password: docs/images.md.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm
FROM ${BASE_IMAGE}

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

# A configuration of pip may name an index of CPU builds of torch: the image then loses the gigabytes of CUDA. It is a secret of the
# build, not an argument: an argument would stay in the image's history, with the password of the index.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip install --constraint constraints.txt ".[minilm]"
# Below the installation: a change here need not repeat it.
COPY deploy/feed.py deploy/feed.py

USER occustream
# What libraries would keep in the home of the user goes to /tmp: the rest may be read-only.
ENV OCCUSTREAM_REGISTRY=/registry \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/huggingface
EXPOSE 9108 9109
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('OCCUSTREAM_HTTP_PORT', '9108') + '/livez', timeout=2)"]
# SIGTERM, which `docker stop` sends, drains; give it longer than OCCUSTREAM_DRAIN_TIMEOUT_S: docker stop --time 30.
CMD ["occustream-consumer", "run"]
