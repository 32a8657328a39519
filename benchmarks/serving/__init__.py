"""The part `serving`: what batching brings to many clients, and what the service adds to the device's time.

The choices behind the figures:

* The device is a timer (device.py): 20 ms for a micro-batch, whatever is in it up to BATCH_MAX_VIEWS, while the CPU is
  idle. That is a GPU that one request cannot fill: 50 micro-batches a second.
* BATCH_MAX_VIEWS is 8 where a target is set: 400 texts a second, which a server on one core and a client on another
  carry easily, so that the device is what is measured. The default of 32 (1600 texts a second) is reported beside it
  without a target: on two cores, HTTP in Python is the limit there.
* Overload uses 2 views per micro-batch: ten times its capacity of 100 texts a second is 1000 arrivals a second, which
  leaves the client's core idle enough for requests to be sent on time.
* The demo's model may use all cores, in the server and in bare calls, and shares them with HTTP and the client. Its
  overload comes in requests of 16 texts: 4000 a second with one text each would measure how fast Python rejects
  requests beside a model, not how the lanes behave.
* "What the device itself gains" is measured by calling the encoder directly, with one text and with BATCH_MAX_VIEWS of
  them, between the rounds of the same run. Naive endpoint and sidecar are measured in turns too, so that a busy moment
  of the machine affects both; a figure is the median of its rounds.
* Server and client are separate processes. The client (client.py) is a bare asyncio protocol; its ceiling against an
  endpoint that does nothing is measured in the same run and reported as a figure.
* All texts are different, so that neither the query cache nor deduplication helps.
* Beside ingest, one picture has 8 views and so is one micro-batch. No process is pinned to a core there, since decoders
  and Postgres need them too. A single client pauses for up to 40 ms between two requests, so that these arrive at any
  moment of a micro-batch, and not always just after one.
* On a machine that is shared, figures include the other load; overhead and goodput suffer first.
"""
