"""
What others do with a Twisted service: its collection, or the application itself, starts it, stops it, moves it.

`MultiService` calls the methods of its services and forgets what they return; applications add services to running
collections, and take them out.  Here each of these calls is heard of, by hooks on the services that stand in a tree,
and told to the life of the service's collection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.internet import StreamServerEndpointService, TimerService
from twisted.application.service import IServiceCollection, MultiService, Service

from plait.guests.twisted import troubles
from plait.guests.twisted.hooks import Hook
from plait.guests.twisted.troubles import Policies, Policy, Trouble
from plait.guests.twisted.waiting import Outcome

if TYPE_CHECKING:
    from plait.guests.twisted.life import Life

T = TypeVar("T")

_watches: dict[int, Watch] = {}


def is_collection(service: Any) -> bool:
    """Say whether *service* has services of its own."""
    return bool(IServiceCollection.providedBy(service))


def watch(service: Any, policies: Policies, parent: Watch | None = None) -> Watch:
    """Return the watch over *service*, and all that is in it; it may be watched already."""
    found = _watches.get(id(service))
    if found is None:
        found = _watches[id(service)] = Watch(service, policies, parent)
    elif parent is not None:
        found.parent = parent
    found.policies = policies
    found.look_inside()
    return found


class Watch:
    """Watches one service, from when it comes into a tree until it leaves that."""

    def __init__(self, service: Any, policies: Policies, parent: Watch | None) -> None:
        self.service = service
        self.policies = policies
        self.parent = parent
        self.life: Life | None = None
        self.variables: Variables | None = None  # of its life
        self.children: dict[int, Watch] = {}
        self.is_started = False
        self._was_stopped = False
        self.is_touched = False  # some of its start was called, so that there may be something to stop
        self.pending: list[Outcome] = []  # what starts have returned, for the life to await
        self.stopping: Outcome | None = None
        self.troubles: list[Trouble] = []  # what happened before there was a life
        self._starts_children = self._stops_children = False
        self._hooks: dict[str, Hook] = {}
        if parent is not None:
            self._hook("privilegedStartService", self._privileged_by_others)
            self._hook("startService", self._started_by_others)
            self._hook("stopService", self._stopped_by_others)
        if is_collection(service):
            self._hook("addService", self._added)
            self._hook("removeService", self._removed)
        if isinstance(service, TimerService):
            self._hook("_failed", lambda method, why: troubles.timer_failed(self, method, why))

    @property
    def is_heard(self) -> bool:
        """Whether calls of its methods are heard of."""
        return "startService" in self._hooks

    @property
    def runs(self) -> bool:
        """Whether it has been started, as far as can be known."""
        # What it says itself, it may have forgotten to say.
        return self.is_started or (not self._was_stopped and bool(getattr(self.service, "running", False)))

    def look_inside(self) -> None:
        """Watch all that is in it."""
        if is_collection(self.service):
            for each in list(self.service):
                self.children[id(each)] = watch(each, self.policies, self)

    def end(self) -> None:
        """Leave the service, and all that is in it, as they were."""
        _watches.pop(id(self.service), None)
        for child in tuple(self.children.values()):
            if child.parent is self:
                child.end()
        for hook in self._hooks.values():
            hook.remove()

    def _hook(self, name: str, call: Callable[..., Any]) -> None:
        hook = Hook(self.service, name, call)
        if hook.is_set:
            self._hooks[name] = hook

    def _method(self, name: str) -> Any:
        hook = self._hooks.get(name)
        return getattr(self.service, name) if hook is None else hook.method

    # Start and stop ---------------------------------------------------------------------------------------------

    def start_privileged(self) -> Any:
        """Do its privileged start; return what came of it, for who called."""
        try:
            return self._begin(
                lambda: troubles.listening(self, self._method("privilegedStartService")), "privilegedStartService"
            )
        finally:
            # Most have nothing to do for it, and would have nothing to stop.
            does = getattr(type(self.service), "privilegedStartService", None)
            if does is MultiService.privilegedStartService:
                self.is_touched = any(child.is_touched for child in self.children.values())
            elif does is not Service.privilegedStartService:
                self.is_touched = True

    def touch_parents(self) -> None:
        """Note that the collections that this is in have something to stop."""
        parent = self.parent
        while parent is not None:
            parent.is_touched = True
            parent = parent.parent

    def start(self) -> Any:
        """Start it; return what came of it, for who called."""
        self.is_touched = True
        self._starts_children = True
        try:
            returned = self._begin(self._method("startService"), "startService")
        finally:
            self._starts_children = False
        self.is_started = True
        return returned

    def _begin(self, function: Callable[[], Any], name: str) -> Any:
        outcome = Outcome(function, self._method(name))
        if not outcome.is_plain:
            self.pending.append(outcome)
        return outcome.value()

    def stop(self) -> Outcome | None:
        """Stop it, if there is anything to stop; return what comes of it."""
        if self.stopping is not None and not self.stopping.is_done and not self.is_started:
            return self.stopping
        if not (self.is_touched or self.runs):
            return None
        self.forget_start()
        pending, self.pending = self.pending, []
        for each in pending:
            each.give_up()
        self._stops_children = True
        try:
            self.stopping = Outcome(self._method("stopService"))
        finally:
            self._stops_children = False
        self.stopping.when_done(self._stopped)
        return self.stopping

    def forget_start(self) -> None:
        """Note that it is being stopped."""
        self.is_started = self.is_touched = False
        self._was_stopped = True

    def _stopped(self) -> None:
        for child in self.children.values():
            if child.stopping is not None:
                child.stopping.hush()  # each tells of its own error
            if not child.is_heard:
                child.forget_start()
        if isinstance(self.service, StreamServerEndpointService) and not self.is_started:
            self.service._waitingForPort = None  # else Twisted takes its next start for done

    # What others call -------------------------------------------------------------------------------------------

    def _privileged_by_others(self, method: Any) -> Any:
        return self._as_itself(self.start_privileged)

    def _as_itself(self, function: Callable[[], T]) -> T:
        """Call *function* in the context of this service, whoever asks for that."""
        variables = self.variables
        if variables is None and self.parent is not None and self.parent.life is not None:
            variables = self.parent.life.parts.variables(self)
        return function() if variables is None else variables.copy().run(function)

    def _started_by_others(self, method: Any) -> Any:
        if self.is_started and self.parent is not None and self.parent._starts_children:
            return None  # it was added meanwhile, and started then: its collection would start it twice
        returned = self._as_itself(self.start)
        if self.parent is not None and self.parent.life is not None:
            self.parent.life.parts.started(self)
        return returned

    def _stopped_by_others(self, method: Any) -> Any:
        before = self.stopping
        outcome = self._as_itself(self.stop)
        if outcome is None:
            return None
        if outcome is before:
            return outcome.again()
        if self.parent is not None and self.parent.life is not None:
            self.parent.life.parts.stopped(self)
        if outcome.is_failed and self.parent is not None and self.parent._stops_children:
            return outcome.tell()
        return outcome.value()

    def _added(self, method: Any, service: Any) -> Any:
        child = self.children[id(service)] = watch(service, self.policies, self)
        try:
            return method(service)
        finally:
            if not any(each is service for each in self.service):
                self.children.pop(id(service), None)
                child.end()
            elif self.life is not None:
                self.life.parts.added(child)

    def _removed(self, method: Any, service: Any) -> Any:
        try:
            return method(service)
        finally:
            child = self.children.pop(id(service), None)
            if child is not None and (self.life is None or not self.life.parts.removed(child)):
                child.end()

    # What goes wrong --------------------------------------------------------------------------------------------

    def policy(self, kind: str) -> Policy:
        """Return what follows from a trouble of this *kind*."""
        return getattr(self.policies, kind)  # type: ignore[no-any-return]

    def report(self, kind: str, error: BaseException) -> None:
        """Tell of a trouble."""
        trouble = Trouble(kind, error)
        if self.life is not None:
            self.life.happened(trouble)
        else:
            self.troubles.append(trouble)
