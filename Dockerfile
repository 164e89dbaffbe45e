# The image that k8s/ and docker-compose.yml run: every fleet, beat, Flower and the exporter are one image, by another command.
#
#   docker build -t g3zkp-maint:0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# A tag can be moved; what you have looked at is pinned by its digest, which `docker buildx imagetools inspect` tells:
#   --build-arg BASE=python:3.12.12-slim-trixie@sha256:…
# checkov:skip=CKV_DOCKER_7:BASE names a version; checkov looks at FROM alone
ARG BASE=python:3.12.12-slim-trixie

# ------------------------------------------------------------------------------------------------------------------ builder
FROM ${BASE} AS builder
WORKDIR /build
# No pip in it: `pip --python` installs from outside.
RUN python -m venv --without-pip /opt/g3zkp-maint
# What changes rarely comes first and stays cached: the dependencies, in the versions that were tested.
COPY pyproject.toml README.md deploy/constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip --python /opt/g3zkp-maint/bin/python install --no-cache-dir --constraint constraints.txt --requirement requirements.txt
COPY beat_schedule.py ./
COPY g3zkp_maint g3zkp_maint
COPY messenger messenger
COPY workers workers
RUN pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
    && pip --python /opt/g3zkp-maint/bin/python install --no-cache-dir --no-deps dist/*.whl

# -------------------------------------------------------------------------------------------------------------------- final
FROM ${BASE}
# Drills load the messenger's dump in a server of their own. The one that comes with the wheel reads those of Valkey, and of
# Redis up to 7.2; this one the newer ones of Redis.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    # Celery takes a user without a name for root, and warns of it at each start.
    && groupadd --gid 1001 g3zkp-maint \
    && useradd --uid 1001 --gid 1001 --no-create-home --home-dir /tmp --no-log-init --shell /usr/sbin/nologin g3zkp-maint \
    # Where Compose mounts volumes for drills and for what Flower keeps; they take over the folders' owner.
    && install -d -o 1001 -g 1001 -m 0700 /scratch /flower
COPY --from=builder /opt/g3zkp-maint /opt/g3zkp-maint
# The root filesystem is read-only where this runs: nothing is written outside of /tmp, and no bytecode.
ENV PATH=/opt/g3zkp-maint/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /tmp
# With every commit another: what comes before is kept of the build before.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="g3zkp-maint" \
      org.opencontainers.image.description="Keeps a G3ZKP messenger alive: backups, restores, key rotation, cleanup and health, on a calendar." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The user of the messenger's files, as a number: Kubernetes believes no name.
USER 1001:1001
# No ENTRYPOINT: `g3zkp-maint …` and `celery …` are both commands of it. No health check either: how to ask depends on what
# runs (`g3zkp-maint probe`, HTTP), and k8s/ and docker-compose.yml know.
HEALTHCHECK NONE
CMD ["g3zkp-maint", "--help"]
