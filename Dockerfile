# One image for every role: `docker run ballast api`, `oracle`, `evaluator`, `executor`, `courier`, `feed`,
# `migrate`.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/ballast"]
# The lock before the code: a change of the code leaves this layer as it is.
# What feeds need is in it, so that every role has one image.
COPY requirements/feeds.txt requirements/feeds.txt
RUN ["/opt/ballast/bin/pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements/feeds.txt"]
COPY pyproject.toml README.md ./
COPY app app
COPY migrations migrations
RUN ["/opt/ballast/bin/pip", "install", "--no-cache-dir", "--no-deps", "--no-build-isolation", "."]
ENV NUMBA_CACHE_DIR=/var/cache/ballast
RUN ["/opt/ballast/bin/ballast", "compile"]

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/ballast /opt/ballast
# The compiled loops; one that was compiled for another processor is replaced here at the first start.
COPY --from=build --chown=10001:10001 /var/cache/ballast /var/cache/ballast
ENV PATH=/opt/ballast/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/ballast \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that an orchestrator can tell that it is not root; it writes nowhere but into that cache.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# For the API, the one role with a port; docker-compose.yml switches it off for the others.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["ballast"]
CMD ["--help"]
