"""A child program kept alive by Twisted's procmon; BENCH_COMMAND is its command."""

import os

from twisted.application import service
from twisted.runner.procmon import ProcessMonitor

application = service.Application("keeper")
monitor = ProcessMonitor()
monitor.addProcess("child", os.environ["BENCH_COMMAND"].split())
monitor.setServiceParent(application)
