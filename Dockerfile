# syntax=docker/dockerfile:1
#
# The sidecar in an image of its own; docs/containers.md says how to run it.
#
#   docker build -t sidecar-embeddings .                                             for a GPU: torch brings CUDA
#   docker build -t sidecar-embeddings --build-arg TORCH_INDEX_URL=<that index> .    for a CPU, a fifth of the size: the
#                                              index of CPU builds that the page pytorch.org/get-started names
#
# Every dependency comes as a wheel, so there is no compiler in any stage. Layers change as seldom as they can: torch,
# then the other dependencies, then this package.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm


FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY sidecar ./sidecar
COPY migrations ./migrations
COPY sql ./sql
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels .


FROM ${PYTHON_IMAGE} AS environment
RUN python -m venv /opt/sidecar
ENV PATH=/opt/sidecar/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
ARG TORCH_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} --constraint constraints.txt torch torchvision
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl


FROM ${PYTHON_IMAGE}
ARG VERSION=0
LABEL org.opencontainers.image.title="sidecar-embeddings" \
      org.opencontainers.image.description="Keeps a pgvector column in step with the text or picture beside it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd --gid 10001 sidecar \
    && useradd --uid 10001 --gid sidecar --create-home sidecar \
    && install --directory --owner=sidecar --group=sidecar /models
COPY --from=environment /opt/sidecar /opt/sidecar
# HF_HOME: where Hugging Face's library keeps the model. NVIDIA_*: what `--gpus all` mounts. On all addresses the service
# starts only with API_KEYS or API_KEYS_FILE, or with ALLOW_ANONYMOUS=1: give the container one of them.
ENV PATH=/opt/sidecar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/models \
    BIND_HOST=0.0.0.0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /home/sidecar
VOLUME /models
EXPOSE 9000
# Ready means: queries can be embedded. The first start downloads 3.5 GB.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + (os.environ.get('BIND_PORT') or os.environ.get('PORT') or '9000') + '/readyz', timeout=4)"]
ENTRYPOINT ["sidecar"]
CMD ["serve"]
