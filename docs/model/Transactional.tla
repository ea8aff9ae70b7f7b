---------------------------- MODULE Transactional ----------------------------
(* delivery = "exactly-once": two transactional producers, "a" and "b", in alternation.                          *)
(*                                                                                                               *)
(* An instance takes the slot, fences (init_transactions, first on a, then on b), reads the progress at          *)
(* read_committed, streams from there, and writes whole source transactions and one progress record in each      *)
(* Kafka transaction, the first one through a. A Kafka transaction is begun when the one before it has been      *)
(* flushed, is committed when the one before it has been, and is confirmed to the slot after its commit.         *)
(*                                                                                                               *)
(* An instance that has lost the slot may do all of that but confirm: it may wake at any moment, even between    *)
(* two fences, and stream what the server had sent before. So the slot protects nothing here, only the fences.   *)
EXTENDS Source

CONSTANTS
    Batch          \* how many source transactions one Kafka transaction holds at most

VARIABLES
    confirmed,  \* the slot's confirmed position: the last transaction that it will not send again
    holder,     \* the instance that reads the slot, or Nobody
    owner,      \* the coordinator's: who has the current epoch of each producer id; an older epoch is refused
    kafka,      \* the coordinator's and the partitions': every Kafka transaction so far
    log,        \* of each partition: the sequence of [message, within], `within` being an index of kafka
    progress,   \* the partition of progress records: the sequence of [position, within]
    inst,       \* what each instance knows
    left        \* faults that may still happen

vars == <<confirmed, holder, owner, kafka, log, progress, inst, left>>

Ids == {"a", "b"}
Other(id) == IF id = "a" THEN "b" ELSE "a"
Without(rule) == rule \in Broken

\* `fenced`: the producer ids it has an epoch of; `open`: the transactions begun and not known to be committed, oldest first;
\* `used`: the producer of the last one; `told`: the position of the last known commit.
Down == [state |-> "down", fenced |-> {}, next |-> 1, open |-> <<>>, used |-> "b", told |-> 0]

Init ==
    /\ confirmed = 0 /\ holder = Nobody /\ left = Faults
    /\ owner = [id \in Ids |-> Nobody] /\ kafka = <<>> /\ progress = <<>>
    /\ log = [q \in Partitions |-> <<>>]
    /\ inst = [p \in Instances |-> Down]

(* ---------------------------------------------------- Kafka -------------------------------------------------- *)

\* A Kafka transaction is "open"; "asked" once the request to commit it is on its way, which outlives its sender;
\* "decided" once the coordinator has logged the decision; then "committed", with its markers, or "aborted".
Unsettled(x) == kafka[x].state \in {"open", "asked", "decided"}
Undecided(x) == kafka[x].state \in {"open", "asked"}
Stays(x) == kafka[x].state \in {"decided", "committed"}
Settle(x, state) == kafka' = [kafka EXCEPT ![x].state = state]

\* What is aborted is as good as gone: no reader of read_committed sees it.
Gone == [id |-> "", state |-> "aborted", first |-> 0, last |-> 0]
Abort(xs) ==
    LET Keep(seq) == SelectSeq(seq, LAMBDA e : e.within \notin xs)
    IN /\ kafka' = [x \in DOMAIN kafka |-> IF x \in xs THEN Gone ELSE kafka[x]]
       /\ log' = [q \in Partitions |-> Keep(log[q])]
       /\ progress' = Keep(progress)

Decide(x) ==
    /\ kafka[x].state = "asked" /\ Settle(x, "decided")  \* it is of the current epoch, or a fence had aborted it
    /\ UNCHANGED <<confirmed, holder, owner, log, progress, inst, left>>

WriteMarkers(x) ==
    /\ kafka[x].state = "decided" /\ Settle(x, "committed")
    /\ UNCHANGED <<confirmed, holder, owner, log, progress, inst, left>>

\* read_committed ends before the first transaction that is not settled (the last stable offset).
Committed(seq) ==
    LET stable == Max({n \in 0..Len(seq) : \A o \in 1..n : ~Unsettled(seq[o].within)})
    IN SelectSeq(SubSeq(seq, 1, stable), LAMBDA e : kafka[e.within].state = "committed")
ReadProgress ==
    LET records == IF Without("read-committed") THEN progress ELSE Committed(progress)
    IN IF records = <<>> THEN 0 ELSE records[Len(records)].position

(* ---------------------------------------------- the steps of an instance ------------------------------------- *)

Acquire(p) ==
    /\ inst[p].state = "down" /\ holder = Nobody /\ holder' = p
    /\ inst' = [inst EXCEPT ![p].state = IF Without("fence-first") THEN "read" ELSE "fence a"]
    /\ UNCHANGED <<confirmed, owner, kafka, log, progress, left>>

\* init_transactions: waits for what is decided, aborts what is not, and shuts out all who have an older epoch.
Fence(p, id) ==
    /\ inst[p].state = "fence " \o id
    /\ \A x \in DOMAIN kafka : kafka[x].id = id => kafka[x].state # "decided"
    /\ Abort({x \in DOMAIN kafka : kafka[x].id = id /\ Undecided(x)})
    /\ owner' = [owner EXCEPT ![id] = p]
    /\ inst' = [inst EXCEPT ![p].fenced = @ \union {id},
                            ![p].state = IF id = "a" THEN IF Without("fence-both") THEN "read" ELSE "fence b"
                                         ELSE IF Broken \intersect {"fence-first", "fence-both"} # {} \/ inst[p].told = -1
                                              THEN "stream" ELSE "read"]
    /\ UNCHANGED <<confirmed, holder, left>>

Read(p) ==
    /\ inst[p].state = "read"
    /\ inst' = [inst EXCEPT ![p].state = IF Without("fence-first") THEN "fence a"
                                         ELSE IF Without("fence-both") THEN "fence b" ELSE "stream",
                            ![p].next = Max({ReadProgress, confirmed}) + 1, ![p].told = ReadProgress]
    /\ UNCHANGED <<confirmed, holder, owner, kafka, log, progress, left>>

Valid(p, id) == id \in inst[p].fenced /\ owner[id] = p
Within(p, n) == inst[p].open[n]
MessagesIn(x) == UNION {MessagesOf(t) : t \in kafka[x].first..kafka[x].last}
Written(x, q) == \E o \in DOMAIN log[q] : log[q][o].within = x
AllWritten(x) == \A m \in MessagesIn(x) : Written(x, PartitionOf(m))
Flushed(x) == \E o \in DOMAIN progress : progress[o].within = x

\* Takes the next source transactions into a new Kafka transaction.
Begin(p) ==
    /\ inst[p].state = "stream" /\ inst[p].next <= Last
    /\ Len(inst[p].open) < 2
    /\ Len(inst[p].open) = 1 /\ ~Without("flush-before-next") => Flushed(Within(p, 1))
    /\ \E id \in (IF Without("first-through-a") /\ inst[p].used = "b" /\ inst[p].open = <<>> THEN Ids
                  ELSE {Other(inst[p].used)}), count \in 1..Batch :
        /\ inst[p].next + count - 1 <= Last
        /\ Valid(p, id)
        /\ \A x \in DOMAIN kafka : kafka[x].id = id => ~Unsettled(x)
        /\ LET gone == {x \in DOMAIN kafka : kafka[x] = Gone /\ \A r \in Instances : \A n \in DOMAIN inst[r].open :
                                                  inst[r].open[n] # x}
               x == Min(gone \union {Len(kafka) + 1})  \* names are given out again, to have fewer states
               new == [id |-> id, state |-> "open", first |-> inst[p].next, last |-> inst[p].next + count - 1]
           IN /\ kafka' = [y \in DOMAIN kafka \union {x} |-> IF y = x THEN new ELSE kafka[y]]
              /\ inst' = [inst EXCEPT ![p].next = @ + count, ![p].used = id, ![p].open = Append(@, x)]
    /\ UNCHANGED <<confirmed, holder, owner, log, progress, left>>

\* What goes to one partition is written at once: nobody can see a part of it.
Write(p, n, q) ==
    LET x == Within(p, n)
        messages == Ordered({m \in MessagesIn(x) : PartitionOf(m) = q})
    IN /\ kafka[x].state = "open" /\ Valid(p, kafka[x].id)
       /\ messages # <<>> /\ ~Written(x, q)
       /\ log' = [log EXCEPT ![q] = @ \o [i \in DOMAIN messages |-> [message |-> messages[i], within |-> x]]]
       /\ UNCHANGED <<confirmed, holder, owner, kafka, progress, inst, left>>

\* All messages are acknowledged; the progress record goes into the same transaction.
Flush(p, n) ==
    LET x == Within(p, n)
    IN /\ IF Without("record-within") THEN Stays(x) ELSE kafka[x].state = "open" /\ Valid(p, kafka[x].id)
       /\ ~Flushed(x) /\ AllWritten(x)
       /\ progress' = Append(progress, [position |-> kafka[x].last, within |-> x])
       /\ UNCHANGED <<confirmed, holder, owner, kafka, log, inst, left>>

AskCommit(p, n) ==
    LET x == Within(p, n)
    IN /\ n = 1 \/ Without("commit-in-order")
       /\ kafka[x].state = "open" /\ Valid(p, kafka[x].id)
       /\ IF Without("record-within") THEN AllWritten(x) ELSE Flushed(x)
       /\ Settle(x, "asked")
       /\ UNCHANGED <<confirmed, holder, owner, log, progress, inst, left>>

\* The answer: the coordinator gives it once it has decided, before the markers are written.
CommitSucceeds(p) ==
    /\ inst[p].open # <<>> /\ Stays(Within(p, 1)) /\ Flushed(Within(p, 1))
    /\ inst' = [inst EXCEPT ![p].open = Tail(@), ![p].told = kafka[Within(p, 1)].last]
    /\ UNCHANGED <<confirmed, holder, owner, kafka, log, progress, left>>

Confirm(p) ==
    LET told == IF Without("commit-first") /\ inst[p].open # <<>> /\ Flushed(Within(p, 1))
                THEN kafka[Within(p, 1)].last ELSE inst[p].told
    IN /\ holder = p /\ inst[p].state = "stream" /\ told > confirmed
       /\ confirmed' = told
       /\ UNCHANGED <<holder, owner, kafka, log, progress, inst, left>>

\* One that is shut out, or whose transaction was aborted by the coordinator, begins anew.
Fenced(p) ==
    /\ inst[p].state \in {"fence b", "read", "stream"}
    /\ \E id \in inst[p].fenced : ~Valid(p, id)
    /\ inst' = [inst EXCEPT ![p] = Down]
    /\ holder' = IF holder = p THEN Nobody ELSE holder
    /\ UNCHANGED <<confirmed, owner, kafka, log, progress, left>>

\* One that has lost the slot and knows it begins anew.
Quit(p) ==
    /\ ~Without("begin-anew")
    /\ inst[p].state # "down" /\ holder # p
    /\ inst' = [inst EXCEPT ![p] = Down]
    /\ UNCHANGED <<confirmed, holder, owner, kafka, log, progress, left>>

Step ==
    \/ \E x \in DOMAIN kafka : Decide(x) \/ WriteMarkers(x)
    \/ \E p \in Instances :
        \/ Acquire(p) \/ Read(p) \/ Begin(p) \/ CommitSucceeds(p) \/ Confirm(p) \/ Fenced(p) \/ Quit(p)
        \/ \E id \in Ids : Fence(p, id)
        \/ \E n \in DOMAIN inst[p].open : Flush(p, n) \/ AskCommit(p, n) \/ \E q \in Partitions : Write(p, n, q)

(* ------------------------------------------------------ faults ----------------------------------------------- *)

Crash(p) ==
    /\ left.crash > 0 /\ inst[p].state # "down"
    /\ left' = [left EXCEPT !.crash = @ - 1]
    /\ inst' = [inst EXCEPT ![p] = Down]
    /\ holder' = IF holder = p THEN Nobody ELSE holder
    /\ UNCHANGED <<confirmed, owner, kafka, log, progress>>

\* The server takes the slot away, or the connection breaks; the process runs on and may be paused for any time.
LoseSlot ==
    /\ left.lose > 0 /\ holder # Nobody
    /\ left' = [left EXCEPT !.lose = @ - 1]
    /\ holder' = Nobody
    /\ UNCHANGED <<confirmed, owner, kafka, log, progress, inst>>

\* After a crash of the server the slot may be back at an older position.
ServerCrash ==
    /\ left.server > 0
    /\ left' = [left EXCEPT !.server = @ - 1]
    /\ holder' = Nobody
    /\ \E older \in 0..confirmed : confirmed' = older
    /\ UNCHANGED <<owner, kafka, log, progress, inst>>

\* The answer to a commit does not come: it may have been decided, may be so later, or never. Both producers are
\* replaced and the progress tells what happened.
Indefinite(p) ==
    /\ left.indefinite > 0
    /\ inst[p].open # <<>> /\ kafka[Within(p, 1)].state # "open"
    /\ left' = [left EXCEPT !.indefinite = @ - 1]
    /\ inst' = [inst EXCEPT ![p] =
           IF Without("read-again")
           THEN [Down EXCEPT !.state = "fence a", !.next = kafka[Within(p, 1)].first, !.told = -1]
           ELSE [Down EXCEPT !.state = "fence a"]]
    /\ UNCHANGED <<confirmed, holder, owner, kafka, log, progress>>

\* The coordinator aborts a transaction that has been open for too long.
TimeOut(x) ==
    /\ left.timeout > 0 /\ Undecided(x)
    /\ left' = [left EXCEPT !.timeout = @ - 1]
    /\ Abort({x})
    /\ owner' = [owner EXCEPT ![kafka[x].id] = Nobody]
    /\ UNCHANGED <<confirmed, holder, inst>>

Next ==
    \/ Step \/ LoseSlot \/ ServerCrash
    \/ \E p \in Instances : Crash(p) \/ Indefinite(p)
    \/ \E x \in DOMAIN kafka : TimeOut(x)
Spec == Init /\ [][Next]_vars
FairSpec == Spec /\ WF_vars(Step)

(* ------------------------------------------------- what must hold -------------------------------------------- *)

UpTo(position) == UNION {MessagesOf(t) : t \in 1..position}
StaysIn(q) == LET entries == SelectSeq(log[q], LAMBDA e : Stays(e.within))
              IN [o \in DOMAIN entries |-> entries[o].message]
InKafka == UNION {{StaysIn(q)[o] : o \in DOMAIN StaysIn(q)} : q \in Partitions}
Records == {progress[o].position : o \in {o \in DOMAIN progress : Stays(progress[o].within)}}

\* Design 11 (2): the slot never passes what Kafka has together with the progress record.
ConfirmedIsInKafka == UpTo(confirmed) \subseteq InKafka
ConfirmedIsRecorded == confirmed <= Max(Records \union {0})
RecordsAreTrue == \A position \in Records : UpTo(position) \subseteq InKafka

\* Design 11 (1): for a reader of read_committed each message is there once, in the source's order. It holds for all
\* that is decided, so for every prefix of it that a reader may see.
OnceInOrder == \A q \in Partitions : Increasing(StaysIn(q))
\* The progress never goes back, whoever has written it.
ProgressRises ==
    LET kept == SelectSeq(progress, LAMBDA e : Stays(e.within))
    IN \A o \in 1..(Len(kept) - 1) : kept[o].position < kept[o + 1].position
\* A source transaction is never torn: its messages are visible together, by one Kafka transaction.
WholeTransactions ==
    \A t \in 1..Last : Cardinality({log[q][o].within : <<q, o>> \in
        {<<q, o>> \in Partitions \X (1..Max({Len(log[q]) : q \in Partitions} \union {1})) :
            o <= Len(log[q]) /\ log[q][o].message[1] = t /\ Stays(log[q][o].within)}}) <= 1

\* Design 11 (1): once faults stop, everything gets to Kafka and the slot lets go of the WAL.
AllArrives == <>[](confirmed = Last /\ InKafka = Messages)
=============================================================================
