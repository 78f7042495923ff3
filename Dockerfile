FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /tools && /tools/bin/pip install --quiet --require-hashes --requirement requirements-dev.lock
RUN python -m venv /app && /app/bin/pip install --quiet --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY cstp_server cstp_server
COPY migrations migrations
RUN /tools/bin/python -m hatchling build --target wheel --directory dist \
    && /app/bin/pip install --quiet --no-deps dist/cstp_server-*.whl


FROM python:3.11-slim-bookworm

RUN groupadd --system --gid 10001 cstp \
    && useradd --system --uid 10001 --gid cstp --home-dir /var/lib/cstp --shell /usr/sbin/nologin cstp \
    && install --directory --owner cstp --group cstp /var/lib/cstp /var/lib/cstp/data

COPY --from=build /app /app
COPY config /etc/cstp

ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 CSTP_CONFIG=/etc/cstp
WORKDIR /var/lib/cstp
USER 10001:10001
VOLUME /var/lib/cstp/data
EXPOSE 8787
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8787, timeout=3); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["cstp"]
CMD ["serve", "--host", "0.0.0.0"]
