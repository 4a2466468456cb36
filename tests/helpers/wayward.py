"""A misbehaving MCP server in plain Python: the argument `way` of a call says how."""

import json
import os
import signal
import subprocess
import sys
import time

SHELF = ["Dogs bark.", "A flea jumps 20 cm.", "Cats sleep."]
RECORDS = [{"title": text[:4], "text": text, "id": n} for n, text in enumerate(SHELF)]


def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def block(text):
    return {"type": "text", "text": text}


RESULTS = {
    "structured": {
        "structuredContent": {"results": RECORDS, "took": 3},
        "content": [block(json.dumps({"results": RECORDS, "took": 3}, indent=2))],
    },
    "structured beside prose": {
        "structuredContent": {"results": RECORDS},
        "content": [block("Three things were found.")],
    },
    "a graph": {"structuredContent": {"entities": RECORDS, "relations": []}, "content": []},
    "blocks": {"content": [block(text) for text in SHELF]},
    "resources": {
        "content": [
            {"type": "resource", "resource": {"uri": f"file:///{n}", "text": text}}
            for n, text in enumerate(SHELF)
        ]
    },
    "prose": {"content": [block("Dogs bark.\n\nA flea jumps.")]},
    "one": {"content": [block(json.dumps([RECORDS[0]]))]},
    "none": {"content": [], "structuredContent": {"results": []}},
    "an error": {"content": [block("no index")], "isError": True},
    "a question": {"resultType": "input_required", "inputRequests": {}},
    "a task": {"task": {"taskId": "t"}},
    "nothing": {},
    "strange content": {"content": 5, "structuredContent": 7},
    "text beside a list": {"content": "two", "structuredContent": {"results": RECORDS}},
    "strange meta": {"content": [block(text) for text in SHELF], "_meta": [1]},
    "strange blocks": {"content": [None, 3, {"type": "image", "data": ""}]},
}


def call(key, arguments, token):
    way = arguments.get("way", "structured")
    if way == "dies":
        os._exit(3)
    elif way == "leaves a child":
        child = subprocess.Popen(["sleep", "60"])
        say(method="notifications/message", params={"data": child.pid})
        os._exit(6)
    elif way == "asks and dies":
        say(id=0, method="elicitation/create", params={"message": "Which shelf?"})
        os._exit(3)
    elif way == "hangs":
        time.sleep(3600)
    elif way == "speaks garbage":
        print("Warning: the index is old")
        print('{"jsonrpc": "2.0", "id": ')
        sys.stdout.buffer.write(b"\xff\xfe\n")
        print("[" * 100_000, flush=True)
        say(id=key, result=RESULTS["blocks"])
    elif way == "answers what nobody asked":
        say(id="nobody", result=RESULTS["blocks"])
        say(id=[1], result=RESULTS["blocks"])
        say(id=key, result=RESULTS["blocks"])
    elif way == "floods":
        sys.stdout.write("x" * 40_000_000)
        sys.stdout.flush()
        time.sleep(3600)
    elif way == "tells much":
        for number in range(5_000):
            say(method="notifications/message", params={"level": "info", "data": number})
        say(id=key, result=RESULTS["blocks"])
    elif way == "is large":
        say(id=key, result={"content": [block("x" * 20_000_000), block("A flea.")]})
    elif way == "has half a letter":
        texts = [block("Dogs \ud83d bark."), block("A flea jumps.")]
        say(id=key, result={"content": texts})
    elif way == "has a number that JSON has not":
        print(
            f'{{"jsonrpc":"2.0","id":{json.dumps(key)},"result":'
            f'{{"content":{json.dumps(RESULTS["blocks"]["content"])},"n":1e999}}}}',
            flush=True,
        )
    elif way == "tells how far":
        for step in range(1, 4):
            params = {"progressToken": token, "progress": step, "total": 3}
            say(method="notifications/progress", params=params)
        say(id=key, result=RESULTS["blocks"])
    elif way == "tells an odd progress":
        for step in (10**400, float("nan"), [1], -(10**400)):
            params = {"progressToken": token, "progress": step}
            say(method="notifications/progress", params=params)
        say(id=key, result=RESULTS["blocks"])
    elif way == "refuses":
        say(id=key, error={"code": -32602, "message": "no such shelf"})
    else:
        say(id=key, result=RESULTS[way])


def answer(key, method, params):
    """Answer a message that is no tool call."""
    if method == "initialize":
        version = params["protocolVersion"]
        server = {"name": "wayward", "version": "1"}
        about = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
        say(id=key, result=about)
    elif method == "tools/list":
        tool = {"name": "find", "inputSchema": {"type": "object"}, "x-own": [1, None]}
        say(id=key, result={"tools": [tool]})
    elif method == "notifications/cancelled":
        say(method="notifications/message", params={"data": ["cancelled", params]})
    elif method == "notifications/echo":
        say(method="notifications/message", params={"data": params})
    elif key is not None:
        say(id=key, error={"code": -32601, "message": f"no method {method}"})


def main():
    """Serve as the first argument says; the second is a file that the first start creates."""
    manner, once = [*sys.argv[1:], "", ""][:2]
    again = once and os.path.exists(once)  # noqa: PTH110
    if once:
        open(once, "w").close()  # noqa: PTH123
    if manner == "lacks something":
        sys.exit("no key is set")
    stubborn = manner == "ends by force alone" or (again and manner == "hangs the second time")
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while again and manner == "hangs the second time":
        time.sleep(60)
    opened = False
    for line in sys.stdin:
        message = json.loads(line) if line.startswith("{") else {}
        key, method, params = (message.get(name) for name in ("id", "method", "params"))
        opened = opened or method == "notifications/initialized"
        if not opened and method != "initialize":
            say(id=key, error={"code": -32002, "message": "nobody has initialized this"})
        elif method == "tools/call":
            call(key, params["arguments"], params.get("_meta", {}).get("progressToken"))
        else:
            answer(key, method, params)
        if manner == "ends in the first handshake" and not again:
            sys.exit(7)
    while stubborn:
        time.sleep(60)


if __name__ == "__main__":
    main()
