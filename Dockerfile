# CPU:   docker build -t vidapp .                                       docker run --stop-timeout 40 -p 127.0.0.1:7860:7860 -v vidapp:/data vidapp
# CUDA:  docker build -t vidapp:cuda --build-arg TORCH_INDEX= .         docker run --stop-timeout 40 --gpus all --shm-size=2g -p 127.0.0.1:7860:7860 -v vidapp:/data vidapp:cuda
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim

# Where torch and torchvision come from, both from one index: a CPU torch with the ordinary torchvision fails at import.
# Empty means pip's own index, whose builds for Linux are the CUDA ones.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 vidapp && mkdir -p /data /home/vidapp/app && chown vidapp:vidapp /data /home/vidapp/app
WORKDIR /home/vidapp/app

COPY requirements.txt .
RUN grep -E '^torch(vision)?[^a-z]' requirements.txt > /tmp/torch.txt \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /tmp/torch.txt \
    && pip install --no-cache-dir -r requirements.txt

COPY --chown=vidapp:vidapp . .
USER vidapp

# Video files are read and written by the ffmpeg that the imageio-ffmpeg package brings along.
ENV PYTHONUNBUFFERED=1 \
    VIDAPP_HOST=0.0.0.0 \
    VIDAPP_PORT=7860 \
    VIDAPP_RUNS=/data/runs \
    VIDAPP_DATA=/data/cache
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['VIDAPP_PORT'], timeout=4)"
CMD ["python", "app.py"]
