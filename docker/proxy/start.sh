#!/bin/sh
# Writes what depends on this machine (resolver, certificate, settings) to /tmp, then becomes nginx.
set -eu
made=/tmp/nginx
mkdir -p "$made"

resolver=$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2; exit }' /etc/resolv.conf)
# Addresses are asked anew every few seconds, so services may come, go and multiply.
echo "resolver ${resolver:-127.0.0.11} valid=5s ipv6=off;" > "$made/resolver.conf"

cat > "$made/settings.conf" <<CONF
client_max_body_size ${ATELIER_BODY_LIMIT:-134217728};
map "" \$api { default ${ATELIER_PROXY_API:-api:8000}; }
map "" \$grpc { default ${ATELIER_PROXY_GRPC:-grpc:50051}; }
CONF

# The addresses of proxies before this one, whose X-Forwarded-For is believed.
: > "$made/realip.conf"
for network in $(echo "${ATELIER_PROXY_BEHIND:-}" | tr ',' ' '); do
  echo "set_real_ip_from $network;" >> "$made/realip.conf"
done
if [ -s "$made/realip.conf" ]; then
  echo "real_ip_header X-Forwarded-For; real_ip_recursive on;" >> "$made/realip.conf"
fi

if [ -r /tls/tls.crt ] && [ -r /tls/tls.key ]; then
  echo "certificate found: HTTPS on 8443, gRPC over TLS; HTTP redirects" >&2
  cat > "$made/tls.conf" <<CONF
ssl_certificate /tls/tls.crt;
ssl_certificate_key /tls/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:4m;
ssl_session_timeout 1h;
CONF
  echo "listen 8443 ssl http2; add_header Strict-Transport-Security 'max-age=31536000' always;" > "$made/api-listen.conf"
  echo "listen 50051 ssl http2;" > "$made/grpc-listen.conf"
  echo "server { listen 8080; return 308 https://\$host\$request_uri; }" > "$made/http.conf"
else
  echo "no certificate in /tls: plain HTTP on 8080, plain gRPC on 50051" >&2
  : > "$made/tls.conf"
  echo "listen 8080;" > "$made/api-listen.conf"
  echo "listen 50051 http2;" > "$made/grpc-listen.conf"
  : > "$made/http.conf"
fi
exec nginx -e /dev/stderr -c /etc/atelier-proxy/nginx.conf
