# The archiver: writes what the processor rendered, files first, then rows. Scale by queue.
# The stages are the same for every role; tests/docker/test_dockerfiles.py holds them together.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
COPY requirements-build.txt docker/requirements/archiver.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes -r requirements-build.txt \
    && pip wheel --no-deps --no-build-isolation --require-hashes -r archiver.txt -w wheels \
    && python -m venv --without-pip /opt/atelier \
    && pip --python /opt/atelier/bin/python install --no-index --no-deps wheels/*.whl \
    && pip --python /opt/atelier/bin/python check

FROM builder AS package
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --no-index -w package . \
    && pip --python /opt/atelier/bin/python install --no-cache-dir --no-index --no-deps --root /package package/*.whl

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 atelier \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /data --shell /usr/sbin/nologin atelier \
    && install -d -o 10001 -g 10001 -m 0750 /data /blobs /run/atelier
COPY --from=builder /opt/atelier /opt/atelier
COPY --from=package /package /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="atelier-archiver" \
      org.opencontainers.image.description="Atelier: archiver" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV PATH=/opt/atelier/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ATELIER_ROLE=archiver \
    ATELIER_DATA=/data \
    ATELIER_BLOBS=/blobs \
    ATELIER_HOST=0.0.0.0 \
    ATELIER_METRICS_PORT=9100
USER 10001:10001
WORKDIR /data
EXPOSE 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["env", "-u", "ATELIER_CONFIG", "atelier", "probe"]
CMD ["atelier", "archiver"]
