"""The details of an answer: how it grows, whether sentences agree, what is offered next, what is done in idle time."""
