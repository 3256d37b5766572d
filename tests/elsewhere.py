"""An executor in this process, through which nothing but values passes."""

import pickle
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool


class ByValue:
    """Does each task when it is sent, with a pickled copy of it, and answers with a pickled copy of the result.

    Attributes:
        dies_at: the number of the task at which the pool breaks, or None.
        sent: the arguments of all tasks.
        answers: what the tasks returned.
    """

    def __init__(self, dies_at=None):
        self.dies_at, self.sent, self.answers = dies_at, [], []

    def submit(self, function, *args):
        future = Future()
        future.set_running_or_notify_cancel()
        if self.dies_at is not None and len(self.sent) >= self.dies_at:
            future.set_exception(BrokenProcessPool("A process died."))
            return future
        self.sent.append(args)
        function, args = pickle.loads(pickle.dumps((function, args)))
        try:
            self.answers.append(function(*args))
            future.set_result(pickle.loads(pickle.dumps(self.answers[-1])))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options):
        pass


class Lazy:
    """Begins when `total` tasks have been sent, and then only with the first `number`."""

    def __init__(self, number, total):
        self.number, self.total, self.inner, self.sent, self.futures = number, total, ByValue(), [], []

    def submit(self, *task):
        self.sent.append(task)
        self.futures.append(Future())
        if len(self.sent) == self.total:
            for future, begun in zip(self.futures[: self.number], self.sent, strict=False):
                future.set_result(self.inner.submit(*begun).result())
        return self.futures[-1]
