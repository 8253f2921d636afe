#!/usr/bin/env python3
"""bad_queries.py URL PID: a thousand bad requests of each kind to a running querier. All are refused as they should be,
the process lives, and in the second half it does not grow: how large it gets in the first one depends on how many queries whose callers
left are under way at once, which are more the busier the machine is."""
import http.client
import json
import socket
import struct
import sys
import urllib.parse

ROUNDS = 1000
GROWTH_KIB = 8 << 10

HUGE = "(" * 500 + "up" + ")" * 500
BAD = [
    ("query", {"query": "sum(", "time": "1"}, 400, "bad_data"),
    ("query", {"query": "up + on(a) b c", "time": "1"}, 400, "bad_data"),
    ("query", {"query": 'up{a=~"("}', "time": "1"}, 400, "bad_data"),
    ("query", {"query": HUGE, "time": "1"}, 400, "bad_data"),
    ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data"),
    ("query", {"query": "up", "timeout": "soon"}, 400, "bad_data"),
    ("query", {"query": "up", "dedup": "maybe"}, 400, "bad_data"),
    ("query", {"query": "up", "storeMatch[]": "{"}, 400, "bad_data"),
    ("query", {"query": "up * on(job) up"}, 422, "execution"),
    ("query", {"query": 'label_replace(up, "x", "$1", "job", "(")'}, 422, "execution"),
    ("query_range", {"query": "up", "start": "0", "end": "1e9", "step": "1"}, 400, "bad_data"),
    ("query_range", {"query": "up", "start": "5", "end": "1", "step": "1"}, 400, "bad_data"),
    ("query_range", {"query": "up", "start": "0", "end": "1", "step": "0"}, 400, "bad_data"),
    ("query_range", {"query": "up[5m]", "start": "0", "end": "1", "step": "1"}, 400, "bad_data"),
    ("series", {}, 400, "bad_data"),
    ("series", {"match[]": "{}"}, 422, "execution"),
    ("labels", {"match[]": "up{"}, 400, "bad_data"),
    ("metadata", {"limit": "many"}, 400, "bad_data"),
    ("targets", {"state": "asleep"}, 400, "bad_data"),
    ("parse_query", {"query": "1 +"}, 400, "bad_data"),
]


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def ask(connection, path, parameters):
    connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    response = connection.getresponse()
    return response.status, response.read()


def leave_early(host, port):
    """Asks for something and resets the connection at once."""
    client = socket.create_connection((host, port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sendall(b"GET /api/v1/query?query=count(%7B__name__%3D~%22.%2B%22%7D) HTTP/1.1\r\nHost: a\r\n\r\n")
    client.close()


def main():
    url, pid = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2])
    connection = http.client.HTTPConnection(url.hostname, url.port)
    sizes = []
    for number in range(ROUNDS):
        for path, parameters, status, kind in BAD:
            got, body = ask(connection, path, parameters)
            answer = json.loads(body)
            told = (got, answer.get("errorType"))
            assert told == (status, kind), f"{path} {parameters}: {got} {body[:300]}"
        leave_early(url.hostname, url.port)
        if number % 100 == 99:
            sizes.append(resident_kib(pid))
    got, body = ask(connection, "query", {"query": "vector(1)"})
    assert got == 200, body
    print(f"bad queries: {ROUNDS * (len(BAD) + 1)} sent, resident KiB after every hundred rounds: {sizes}")
    assert sizes[-1] - sizes[len(sizes) // 2 - 1] < GROWTH_KIB, "the process grew"


main()
