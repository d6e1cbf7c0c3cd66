"""The least ASGI application, for uvicorn; gunicorn takes ``wsgi``."""


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"hello\n"})


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"hello\n"]
