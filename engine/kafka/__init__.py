"""Kafka, as the engine uses it: connections, topics, rights, readers and writers.

All clients are made by `cluster`. No secret is in a setting.

The modules, in the order in which data passes them:

    secret_files    secrets from a variable or a file
    http_answers    the bodies of answers to our HTTP requests, of a bounded size
    security        how the brokers are reached, and as whom
    oauth           tokens for the brokers, from an endpoint or signed for Amazon MSK
    diagnosis       why no broker answers; what it does not let us do, and what must be allowed
    topics          topic names, and how each topic is set up
    connections     each client closes every connection that it has made
    any_broker      a request that any broker may answer goes to one that can be reached
    fast_compression  producers compress as little as LZ4 can
    cluster         where the brokers are; makes every client
    topic_config    the settings of topics as the brokers have them
    topic_rules     the range that each setting of a topic must be in
    topic_admin     topics declared and checked on a broker
    acls            what each role may do on the brokers
    request_fields  the requests that aiokafka does not have, and their fields
    acl_probe       what this login may do, as the broker reports it
    session         one command's session: it finds the topic and reports errors in one line
    reader          reads a topic to its end, between offsets, or as it comes
    readable        waits until a command's records count
    writer          records written for a command, and how many of them are acknowledged
    until_answered  a request repeated until a deadline
    transaction_time  how long the transaction of a command may stay open
    schema_registry  the schemas of reads, fetched from a registry
    large_responses  the seam in aiokafka that receives fetches in place, without copies
    raw_fetcher     the seam in aiokafka that leaves fetched record batches unopened
    open_transactions  what open transactions hold back, and whose they are
    fetch_limit     fetching pauses while too much is held
    controller_clock  the clock of the cluster's controller
    offset_fetch    what a group has committed, once its coordinator is certain of it
    nearest_replica  a follower's answer never sets a partition back to its start
    group_errors    which errors of a group a member outlives
    static_member   a static member ends when another process has taken its place
    group_protocols  a member offers all its protocols in one request to join
    group_commits   a member commits while its group rebalances
    leave_group     a member leaves its group at once, whatever it is doing
"""

__all__ = [
    "acl_probe",
    "acls",
    "cluster",
    "controller_clock",
    "diagnosis",
    "fast_compression",
    "fetch_limit",
    "group_commits",
    "group_errors",
    "group_protocols",
    "http_answers",
    "leave_group",
    "nearest_replica",
    "offset_fetch",
    "open_transactions",
    "raw_fetcher",
    "readable",
    "reader",
    "schema_registry",
    "security",
    "session",
    "static_member",
    "topic_admin",
    "topic_config",
    "topic_rules",
    "topics",
    "transaction_time",
    "until_answered",
    "writer",
]
