# `alignery` in a container: the lake, the flows and the client of OpenAI-compatible servers; models run elsewhere.
# docs/guides/containers.md shows how it is used.
#   docker build -t alignery .
#   docker build -t alignery-local --build-arg EXTRAS='[local]' --build-arg UV_TORCH_BACKEND=cpu .    with torch

FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=""
ARG UV_TORCH_BACKEND=""
RUN pip install --no-cache-dir uv==0.9.7
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY locks/cpu.lock locks/
COPY alignery/ alignery/
COPY flows/ flows/
COPY tasks/ tasks/
COPY prompts/ prompts/
COPY warehouse/ warehouse/
COPY nano/ nano/
COPY presets/ presets/
# The versions that were tested; of torch the build that the backend names.
RUN grep -v '^torch==' locks/cpu.lock > constraints.txt \
 && python -m venv --without-pip /venv \
 && uv pip install --no-cache --compile-bytecode --python /venv/bin/python -c constraints.txt ".${EXTRAS}"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home alignery \
 && mkdir /lake /project \
 && chown alignery:alignery /lake /project
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH ALIGNERY_HOME=/lake PYTHONUNBUFFERED=1
USER 10001
WORKDIR /project
VOLUME /lake
# `serve` names the port of its Prefect server in a file; of a server that PREFECT_API_URL names, that one is asked.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
  CMD ["python", "-c", "import os, glob, urllib.request as u; files = glob.glob(os.environ['ALIGNERY_HOME'] + '/prefect/login-*'); api = os.environ.get('PREFECT_API_URL') or 'http://127.0.0.1:' + max(files, key=os.path.getmtime).rpartition('-')[2] + '/api'; u.urlopen(api + '/health', timeout=8)"]
ENTRYPOINT ["alignery"]
CMD ["serve"]
