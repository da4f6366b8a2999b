# CPU:          docker build --tag segdistill .
# NVIDIA GPUs:  docker build --tag segdistill:cuda --build-arg DEVICE=cuda .     (the host needs the driver alone)
# Versions are those of requirements.lock, which `make lock` writes.
ARG DEVICE=cpu

FROM python:3.11-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-cpu.lock ./

# All from PyPI, by hash; torch brings the CUDA libraries.
FROM base AS cuda
RUN pip install --require-hashes --requirement requirements.lock

# torch without CUDA is not on PyPI but on PyTorch's own index: the locked versions, without hashes.
FROM base AS cpu
RUN pip install --no-deps --require-hashes --requirement requirements-cpu.lock \
    && grep -oE '^torch(vision)?==[0-9.]+' requirements.lock > torch.txt \
    && pip install --no-deps --index-url https://download.pytorch.org/whl/cpu --requirement torch.txt

FROM ${DEVICE}
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip check
# Any user may run it (docker run --user): caches go to /tmp, results to the folder mounted at /work.
ENV HOME=/tmp USER=segdistill PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["segdistill"]
CMD ["--help"]
