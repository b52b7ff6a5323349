"""Uploads are taken while the disk has room for them: Gradio bounds each one, and not what they come to."""

import os
import shutil
import tempfile
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SPARE_BYTES = 2 << 30  # of disk: what trains on this machine, and what is generated, needs some as well
FULL = "the disk of this page is nearly full: try again later, or run the app yourself"


class RoomForUploads:
    """ASGI middleware that refuses to receive files where the disk is nearly full."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/upload") and free_for_uploads() < SPARE_BYTES:
            await JSONResponse({"detail": FULL}, status_code=507)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def free_for_uploads() -> int:
    """Bytes that are free where Gradio puts what is uploaded."""
    folder = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
