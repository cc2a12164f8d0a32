# The door: nginx before the API and the gRPC service. Ends TLS, spools slow clients' uploads and answers on disk, sends
# stored bytes once the API has allowed it.
ARG DEBIAN_IMAGE=debian:bookworm-20250811-slim
FROM ${DEBIAN_IMAGE}
# Debian's own versions: pinned ones vanish from its mirrors with each security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled /etc/nginx/conf.d /var/www/html \
    && groupadd --gid 10001 atelier \
    && useradd --uid 10002 --gid 10001 --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin proxy-atelier \
    && install -d -o 10002 -g 10001 -m 0750 /spool /tls
COPY docker/proxy /etc/atelier-proxy
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="atelier-proxy" \
      org.opencontainers.image.description="Atelier: reverse proxy" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 10002:10001
WORKDIR /tmp
EXPOSE 8080 8443 50051
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["sh", "/etc/atelier-proxy/healthy.sh"]
CMD ["sh", "/etc/atelier-proxy/start.sh"]
