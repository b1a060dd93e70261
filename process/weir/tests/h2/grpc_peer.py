"""gRPC as a client of Weir (`client HOST:PORT [CA]`) and as an origin behind it (`server PORT`)."""

import concurrent.futures
import sys
import threading

import grpc

# The one that examples/grpc.toml has a route for.
SERVICE = "helloworld.Greeter"
CANCELLED = threading.Event()


def unary(request, context):
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", "2"), ("x-bin-bin", b"\x00\x01\xff")))
    return request


def fails(request, context):
    context.set_trailing_metadata((("x-trailing", "3"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: " + request.decode())


def server_stream(request, context):
    for n in range(int(request)):
        yield b"%d" % n


def fails_late(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "in the middle")


def client_stream(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def bidi(requests, context):
    for request in requests:
        yield request


def waits(request, context):
    CANCELLED.clear()
    context.add_callback(CANCELLED.set)
    CANCELLED.wait(30)
    return b"late"


def was_cancelled(request, context):
    return b"yes" if CANCELLED.wait(10) else b"no"


def serve(port):
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fails": grpc.unary_unary_rpc_method_handler(fails),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "FailsLate": grpc.unary_stream_rpc_method_handler(fails_late),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Waits": grpc.unary_unary_rpc_method_handler(waits),
        "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
    handler = grpc.method_handlers_generic_handler(SERVICE, methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details(), dict(error.trailing_metadata() or ())
    raise AssertionError("it did not fail")


def client(address, ca=None):
    options = (("grpc.ssl_target_name_override", "a.test"), ("grpc.enable_retries", 0))
    if ca is None:
        channel = grpc.insecure_channel(address, options[1:])
    else:
        with open(ca, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(address, credentials, options)
    path = "/" + SERVICE + "/"
    with channel:
        call = channel.unary_unary(path + "Unary")
        for size in (0, 1, 3_000_000):
            reply, rpc = call.with_call(b"u" * size, timeout=20)
            assert reply == b"u" * size, size
            assert ("x-initial", "1") in rpc.initial_metadata(), rpc.initial_metadata()
            trailing = dict(rpc.trailing_metadata())
            assert trailing["x-trailing"] == "2", trailing
            assert trailing["x-bin-bin"] == b"\x00\x01\xff", trailing
        many = [call.future(b"%d" % n, timeout=20) for n in range(200)]
        assert [future.result() for future in many] == [b"%d" % n for n in range(200)]
        told = code_of(lambda: channel.unary_unary(path + "Fails")("ä%\n".encode(), timeout=20))
        assert told[:2] == (grpc.StatusCode.NOT_FOUND, "no such thing: ä%\n"), told
        assert told[2]["x-trailing"] == "3", told
        missing = code_of(lambda: channel.unary_unary(path + "Missing")(b"", timeout=20))
        assert missing[0] == grpc.StatusCode.UNIMPLEMENTED, missing
        stream = channel.unary_stream(path + "ServerStream")(b"500", timeout=20)
        assert list(stream) == [b"%d" % n for n in range(500)]
        stream = channel.unary_stream(path + "FailsLate")(b"", timeout=20)
        assert next(stream) == b"one"
        late = code_of(lambda: next(stream))
        assert late[:2] == (grpc.StatusCode.DATA_LOSS, "in the middle"), late
        pieces = (b"p" * 1000 for _ in range(500))
        assert channel.stream_unary(path + "ClientStream")(pieces, timeout=20) == b"500000"
        ping_pong(channel, path)
        gone = code_of(lambda: channel.unary_unary(path + "Waits")(b"", timeout=0.5))
        assert gone[0] == grpc.StatusCode.DEADLINE_EXCEEDED, gone
        assert channel.unary_unary(path + "WasCancelled")(b"", timeout=20) == b"yes"
    print("good")


def ping_pong(channel, path):
    """Each message is sent only once the one before came back."""
    turn = threading.Semaphore(1)

    def requests():
        for n in range(100):
            turn.acquire()
            yield b"%d" % n

    for n, reply in enumerate(channel.stream_stream(path + "Bidi")(requests(), timeout=20)):
        assert reply == b"%d" % n, (n, reply)
        turn.release()
    assert n == 99, n


if __name__ == "__main__":
    {"client": client, "server": serve}[sys.argv[1]](*sys.argv[2:])
