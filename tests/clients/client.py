"""A generated client of all three services: makes an account, signs in, posts, lists, and finds the post in the log."""

import json
import os
import time

from auth_client import Client
from auth_client.api.accounts import login, register
from auth_client.models import Credentials, NewAccount
from logs_client import AuthenticatedClient as LogsClient
from logs_client.api.log import list_logs
from messages_client import AuthenticatedClient as MessagesClient
from messages_client.api.messages import list_messages, post_message
from messages_client.models import NewMessage, ProblemDetails

url = os.environ.get("URL", "http://127.0.0.1:8080")
name, password = os.environ.get("NAME", "mina"), "correct horse battery"

auth = Client(base_url=url)
register.sync(client=auth, body=NewAccount(username=name, password=password))
token = login.sync(client=auth, body=Credentials(username=name, password=password)).access_token

messages = MessagesClient(base_url=url, token=token)
posted = post_message.sync(client=messages, body=NewMessage(message="안녕하세요 from Python"), idempotency_key=name)
listed = list_messages.sync(client=messages, limit=5)
refused = post_message.sync(client=messages, body=NewMessage(message=" "))
assert isinstance(refused, ProblemDetails)

logs = LogsClient(base_url=url, token=token)
types: list[str] = []
end = time.monotonic() + 20
while not types and time.monotonic() < end:
    types = [
        entry.type_ for entry in list_logs.sync(client=logs, trace_id=posted.trace_id, type_="message.created").items
    ]

pointer = refused.errors[0].pointer
print(json.dumps({"author": posted.author, "listed": listed.items[0].message, "pointer": pointer, "types": types}))
