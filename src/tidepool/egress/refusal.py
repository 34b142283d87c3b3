"""The one way this room says no: a status and a sentence, the same for the client and for the log.

A sentence never holds credentials, addresses or the text of another sandbox.
"""


class Refusal(Exception):
    """The request is not answered with content.

    `status` is an HTTP status; below 500 it is the client's doing, above the index's or the network's.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
