# ringkv in an image that holds one static binary and nothing else. Builds with BuildKit and with the classic builder.
#
#   docker build -t ringkv .
#   docker run --read-only -v ringkv:/data -p 127.0.0.1:8080:8080 \
#     -e RINGKV_ADVERTISE=127.0.0.1 -e RINGKV_INSECURE=true ringkv
#
# Inside a container the node has to listen on all addresses to be reached at all. ringkv refuses that until it is told
# how others reach it (RINGKV_ADVERTISE) and that the network is private (RINGKV_INSECURE): publish its ports on loopback
# or on a private network only. The base image follows go.mod's Go version; scripts/container-test.sh supplies it itself
# where no registry can be reached.

FROM golang:1.26.8-alpine AS build
WORKDIR /src

# Modules first: this layer stays valid until go.mod or go.sum change.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
# The build cache would only swell the layer. /out/data is empty: it gives the volume its owner, below.
RUN mkdir -p /out/data \
 && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/ringkv ./cmd/ringkv \
 && go clean -cache

FROM scratch
COPY --from=build /out/ringkv /ringkv
# A new named volume takes over the owner of the directory it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data

ENV RINGKV_DATA_DIR=/data \
    RINGKV_HTTP=0.0.0.0:8080 \
    RINGKV_PEER=0.0.0.0:7947 \
    RINGKV_GOSSIP=0.0.0.0:7946

USER 65532:65532
VOLUME /data
# Clients; peers; gossip over TCP and UDP.
EXPOSE 8080 7947 7946/tcp 7946/udp
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["/ringkv", "healthcheck"]
ENTRYPOINT ["/ringkv"]
CMD ["serve"]
