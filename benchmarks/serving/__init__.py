"""The part `serving`: what batching brings to many clients, and what the service costs on top of the device.

The choices behind the figures:

* The device is a timer (device.py): 20 ms for a micro-batch, whatever is in it up to BATCH_MAX_VIEWS, with an idle CPU.
  That is a GPU that one request cannot fill: 50 micro-batches a second.
* BATCH_MAX_VIEWS is 8 where a target is set: 400 texts a second, which a server on one core and a client on another
  carry with room to spare, so that the device is what is measured. The default of 32 (1600 texts a second) is reported
  beside it without a target: on two cores, Python's HTTP is the limit there.
* Overload takes 2 views a micro-batch: ten times its capacity of 100 texts a second is 1000 arrivals a second, which
  still leaves the client's core idle enough to arrive on time.
* The demo's model may have all cores, in the server as in bare calls, and shares them with HTTP and the client. Its
  overload comes in requests of 16 texts: 4000 a second with one text each would measure how fast Python refuses beside
  a model, not how the lanes behave.
* "What the device itself gains" is measured by calling the encoder directly, with one text and with BATCH_MAX_VIEWS of
  them, between the rounds of the same run. Naive and sidecar take turns too, so that a busy moment of the machine hits
  both; a figure is the median of its rounds.
* Server and client are processes of their own. The client (client.py) is a bare asyncio protocol; its ceiling against
  an endpoint that does nothing is measured in the same run and printed as a figure.
* Every text is another one, so that neither the query cache nor the search for duplicates helps.
* Beside ingest, one picture has 8 views and so is one micro-batch. There nothing is kept to a core: decoders and
  Postgres want them too. Whoever asks alone thinks for up to 40 ms between two questions, so that it arrives at any
  moment of a micro-batch, and not always just after one.
* Figures of a machine that others use too are those of the others as well: overhead and goodput first.
"""
