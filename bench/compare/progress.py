"""What is being done and how long the rest will take."""

import sys
import time


def say(text):
    """The progress line: rewritten on a terminal, one line each elsewhere."""
    end = "\x1b[K\r" if sys.stderr.isatty() else "\n"
    print(f"bench: {text}", end=end, file=sys.stderr, flush=True)


class Progress:
    """Knows every step from the beginning, with a guess of its seconds; what took place corrects the guesses."""

    def __init__(self, steps):
        """`steps`: a list of (key, seconds expected); a key comes again with each round."""
        self._left = list(steps)
        self._taken = {}
        self._expected = 0.0
        self._actual = 0.0

    def seconds_left(self):
        pace = self._actual / self._expected if self._expected else 1.0
        return sum(self._taken.get(key, guess * pace) for key, guess in self._left)

    def step(self, key, text, work):
        """Does the work and returns its result."""
        minutes = (self.seconds_left() + 30) // 60
        left = f"about {minutes:.0f} min left" if minutes > 0 else "less than a minute left"
        say(f"{text} ({left})")
        guess = next(seconds for name, seconds in self._left if name == key)
        self._left.remove((key, guess))
        begin = time.monotonic()
        try:
            return work()
        finally:
            seconds = time.monotonic() - begin
            if key not in self._taken:  # the first round counts system calls as well
                self._expected, self._actual = self._expected + guess, self._actual + seconds
            self._taken[key] = seconds
