#!/usr/bin/env bash
# confluent-kafka 2.16.1 takes an answer without a schema for a schema, and remembers it.
#
# SchemaRegistryClient.get_schema reads the field "schema" of whatever JSON object comes with status 200. Some proxies and gateways
# answer so with an object of their own, {} or {"status": "starting"}, while the registry behind them starts. The client then returns
# a Schema whose text is None, and keeps it in its cache: when the registry is there, the same client still answers None for that id,
# until it is made anew. An answer that is no JSON at all, such as a page to sign in, is no SchemaRegistryError either, but the
# JSONDecodeError of the HTTP library.
# The way out: check that the text is a string, drop the client when it is not, and catch ValueError beside SchemaRegistryError.
#
# Seen on 2026-11-28 with Python 3.11.7 and confluent-kafka 2.16.1, one client against one small server:
#   the server answers {"status": "starting"}    get_schema(7) returns a Schema with the text None
#   the server answers {"schema": "\"string\""}  the same client: None again; a new client: '"string"'
#   the server answers a page                    JSONDecodeError, which is no SchemaRegistryError
#
# Exit status: 0 as described, 1 if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'confluent-kafka[avro,schemaregistry]==2.16.1'

"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from json import JSONDecodeError

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError


class Server(BaseHTTPRequestHandler):
    answer = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def make_client():
    return SchemaRegistryClient({"url": f"http://127.0.0.1:{server.server_port}"})


def ask(what, client):
    found = client.get_schema(7).schema_str
    print(f"{what}: {found!r}")
    return found


client = make_client()
Server.answer = b'{"status": "starting"}'
starting = ask("no schema in the answer", client)
Server.answer = b'{"schema": "\\"string\\""}'
remembered, new = ask("the same client, later", client), ask("a new client", make_client())
Server.answer = b"<html>Sign in</html>"
try:
    ask("a page", make_client())
    page = False
except JSONDecodeError as error:
    print(f"a page: {type(error).__name__}, a SchemaRegistryError: {isinstance(error, SchemaRegistryError)}")
    page = not isinstance(error, SchemaRegistryError)
sys.exit(0 if (starting, remembered, new, page) == (None, None, '"string"', True) else 1)
PYTHON
