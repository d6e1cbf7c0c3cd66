"""The echo server as a Twisted application."""

import os

from twisted.application import service, strports
from twisted.internet import protocol


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


application = service.Application("echo")
strports.service(
    f"tcp:{os.environ['BENCH_PORT']}:interface=127.0.0.1", protocol.Factory.forProtocol(Echo)
).setServiceParent(application)
