#!/bin/sh
# Does nginx itself answer? Whether the API does is the API's own health.
exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/8081 && printf "GET /healthz HTTP/1.0\r\n\r\n" >&3 && grep -q "^HTTP/1.1 200" <&3'
