------------------------------ MODULE Readback ------------------------------
(* delivery = "at-least-once" with read-back.                                                                    *)
(*                                                                                                               *)
(* An instance takes the slot, reads the progress record and the tails of the partitions, claims a new epoch by  *)
(* a record of its own, streams from the record's position, produces what the tails do not hold, writes a record *)
(* once everything up to its position is acknowledged, and confirms to the slot once the record is.              *)
(*                                                                                                               *)
(* An instance that loses the slot may go on with whatever it can do without it: append what is in its producer, *)
(* stream what the server has sent before, write records. A request that outlives the process that has sent it   *)
(* is the same to everyone else.                                                                                 *)
EXTENDS Source

VARIABLES
    confirmed,  \* the slot's confirmed position: the last transaction that it will not send again
    holder,     \* the instance that reads the slot, or Nobody
    log,        \* of each partition: the sequence of [message, by]; `by` is Nobody once its writer is no more
    records,    \* the progress topic as its compaction leaves it: the last record of each key
    inst,       \* what each instance knows
    late,       \* messages appended by one that has lost the slot while another has begun
    left        \* faults that may still happen

vars == <<confirmed, holder, log, records, inst, late, left>>

NoRecord == [key |-> <<0, Nobody>>, epoch |-> 0, position |-> 0, hints |-> [q \in Partitions |-> 1]]
\* `start`: the position to stream from; `from`, `upto`: the tails that were read; `next`: the next transaction to
\* stream; `recorded`: the position of its last acknowledged record; `pending`: its record on the way.
Down == [state |-> "down", epoch |-> 0, start |-> 0, from |-> [q \in Partitions |-> 1],
         upto |-> [q \in Partitions |-> 1], next |-> 1, recorded |-> 0, pending |-> NoRecord, overtaken |-> FALSE]

Init ==
    /\ confirmed = 0 /\ holder = Nobody /\ late = {} /\ left = Faults
    /\ log = [q \in Partitions |-> <<>>]
    /\ records = {NoRecord}  \* written when the task was made
    /\ inst = [p \in Instances |-> Down]

Without(rule) == rule \in Broken

Buried(p) == [q \in Partitions |-> [o \in DOMAIN log[q] |->
                 IF log[q][o].by = p THEN [log[q][o] EXCEPT !.by = Nobody] ELSE log[q][o]]]

(* ------------------------------------------ what an instance knows ------------------------------------------- *)

\* Every record tells the truth about its position, so the highest counts. Where to read the tails from is told by the
\* newest epoch alone: what a zombie writes after its successor's claim leaves out what the successor has produced.
Newest == {r \in records : \A other \in records :
              IF Without("epoch") THEN other.position <= r.position
              ELSE \/ other.epoch < r.epoch
                   \/ /\ other.epoch = r.epoch
                      /\ Without("highest-position") => other.position <= r.position}
Position(r) == IF Without("highest-position") THEN r.position ELSE Max({other.position : other \in records})

\* With all rules in place nothing but the position of an older epoch's record is ever looked at, so the model forgets
\* the rest of it.
Readable(rs) ==
    IF Broken # {} THEN rs
    ELSE {r \in rs : \A other \in rs : other.epoch <= r.epoch}
             \union {[NoRecord EXCEPT !.position = Max({r.position : r \in rs})]}

InLog == UNION {{log[q][o].message : o \in DOMAIN log[q]} : q \in Partitions}

\* What a position in a message's header tells apart. Two messages of one row need positions of their own.
Named(m) == IF Without("message-position") THEN {n \in Messages : n[1] = m[1]} ELSE {m}

TailOf(p, q) == inst[p].from[q]..(inst[p].upto[q] - 1)
OwnIn(p, q) == {o \in DOMAIN log[q] : log[q][o].by = p}
KnownIn(p, q) == TailOf(p, q) \union OwnIn(p, q)
Found(p) == IF Without("read-back") THEN {}
            ELSE UNION {UNION {Named(log[q][o].message) : o \in TailOf(p, q)} : q \in Partitions}
Own(p) == UNION {{log[q][o].message : o \in OwnIn(p, q)} : q \in Partitions}

\* Produced and not in the log: what is in the instance's producer for partition q.
Queued(p, q) == {m \in UNION {MessagesOf(t) : t \in (inst[p].start + 1)..(inst[p].next - 1)} :
                    PartitionOf(m) = q} \ (Found(p) \union Own(p))

\* The last transaction up to which everything is acknowledged or was found. An acknowledgement is one step with the
\* append: a later one only delays a record.
Reached(p) ==
    LET there == Found(p) \union Own(p)
    IN IF Without("acknowledged") THEN inst[p].next - 1
       ELSE Max({t \in inst[p].start..(inst[p].next - 1) :
                    \A u \in (inst[p].start + 1)..t : MessagesOf(u) \subseteq there})

\* For each partition an offset below which no message is past `position`, from where a later start reads.
Hints(p, position) ==
    [q \in Partitions |->
        LET known == KnownIn(p, q)
            ahead == {o \in known : log[q][o].message[1] > position}
            behind == known \ ahead
        IN IF Without("hint-end") THEN Len(log[q]) + 1
           ELSE IF Without("hint-first-ahead") /\ behind # {} THEN Max(behind) + 1
           ELSE IF ahead # {} THEN Min(ahead)
           ELSE IF known # {} THEN Max(known) + 1
           ELSE inst[p].from[q]]

(* ---------------------------------------------- the steps of an instance ------------------------------------- *)

\* Each session has a key of its own for its records.
Key(p, epoch) == IF Without("session-key") THEN <<0, Nobody>> ELSE <<epoch, p>>

Begin(p, r, then) ==
    LET epoch == Max({other.epoch : other \in records}) + 1
        start == Max({Position(r), confirmed})  \* the server does not go back behind what was confirmed
    IN inst' = [o \in Instances |->
           IF o # p THEN inst[o]
           ELSE [Down EXCEPT !.state = IF Without("claim") THEN "check" ELSE then, !.epoch = epoch,
                             !.start = start, !.next = start + 1, !.recorded = Position(r), !.from = r.hints,
                             !.overtaken = inst[p].overtaken,
                             !.upto = [q \in Partitions |-> Max({Len(log[q]) + 1, r.hints[q]})],
                             !.pending = IF Without("claim") THEN NoRecord
                                         ELSE [key |-> Key(p, epoch), epoch |-> epoch,
                                               position |-> Position(r), hints |-> r.hints]]]

\* Whoever is still there when p gets the slot is late with what it appends from now on.
Overtaken(p) == [o \in Instances |-> [inst[o] EXCEPT !.overtaken = o # p /\ inst[o].state # "down"]]

Acquire(p) ==
    /\ inst[p].state = (IF Without("slot-first") THEN "ready" ELSE "down")
    /\ holder = Nobody /\ holder' = p
    /\ inst' = [Overtaken(p) EXCEPT ![p].state = IF Without("slot-first") THEN "claim" ELSE "read"]
    /\ UNCHANGED <<confirmed, log, records, late, left>>

Read(p) ==
    /\ IF Without("slot-first")
       THEN inst[p].state = "down" /\ \E r \in Newest : Begin(p, r, "ready")
       ELSE inst[p].state = "read" /\ \E r \in Newest : Begin(p, r, "claim")
    /\ UNCHANGED <<confirmed, holder, log, records, late, left>>

\* The next transaction from the server, or from what the server had sent before the slot was lost.
Stream(p) ==
    /\ inst[p].state = "stream" /\ inst[p].next <= Last
    /\ inst' = [inst EXCEPT ![p].next = @ + 1]
    /\ UNCHANGED <<confirmed, holder, log, records, late, left>>

Deliver(p, q) ==
    /\ inst[p].state = "stream" /\ Queued(p, q) # {}
    /\ LET m == First(Queued(p, q))
       IN /\ log' = [log EXCEPT ![q] = Append(@, [message |-> m, by |-> p])]
          /\ late' = IF inst[p].overtaken THEN late \union {m} ELSE late
    /\ UNCHANGED <<confirmed, holder, records, inst, left>>

SendRecord(p) ==
    /\ inst[p].state = "stream" /\ inst[p].pending = NoRecord /\ Reached(p) > inst[p].recorded
    /\ inst' = [inst EXCEPT ![p].pending =
           [key |-> Key(p, inst[p].epoch), epoch |-> inst[p].epoch,
            position |-> Reached(p), hints |-> Hints(p, Reached(p))]]
    /\ UNCHANGED <<confirmed, holder, log, records, late, left>>

\* The record is in the progress topic and acknowledged; what was there under its key goes away.
AppendRecord(p) ==
    /\ inst[p].state \in {"claim", "stream"} /\ inst[p].pending # NoRecord
    /\ LET new == inst[p].pending
       IN /\ records' = Readable({r \in records : r.key # new.key} \union {new})
          /\ inst' = [inst EXCEPT ![p].pending = NoRecord, ![p].recorded = new.position,
                                  ![p].state = IF @ = "claim" /\ ~Without("check") THEN "check" ELSE "stream"]
    /\ UNCHANGED <<confirmed, holder, log, late, left>>

\* The slot is still its own after the claim: whoever takes it from now on reads the claim.
Check(p) ==
    /\ inst[p].state = "check" /\ holder = p
    /\ inst' = [inst EXCEPT ![p].state = "stream"]
    /\ UNCHANGED <<confirmed, holder, log, records, late, left>>

Confirm(p) ==
    LET told == IF Without("record-first") /\ inst[p].pending # NoRecord THEN inst[p].pending.position
                ELSE IF Without("record-idle")
                THEN Max({t \in inst[p].recorded..(inst[p].next - 1) :
                             \A u \in (inst[p].recorded + 1)..t : MessagesOf(u) = {}})
                ELSE inst[p].recorded
    IN /\ holder = p /\ inst[p].state = "stream" /\ told > confirmed
       /\ confirmed' = told
       /\ UNCHANGED <<holder, log, records, inst, late, left>>

\* The connection is back. It may go on from memory only if nobody has claimed an epoch in the meantime.
Reconnect(p) ==
    /\ inst[p].state = "stream" /\ holder = Nobody
    /\ \/ Without("start-anew")
       \/ \A r \in records : r.key = Key(p, inst[p].epoch) \/ r.epoch < inst[p].epoch
    /\ holder' = p /\ inst' = Overtaken(p)
    /\ UNCHANGED <<confirmed, log, records, late, left>>

\* One that has lost the slot drops what is in its producer and begins anew.
Quit(p) ==
    /\ ~Without("begin-anew")
    /\ inst[p].state \notin {"down", "ready"} /\ holder # p
    /\ inst' = [inst EXCEPT ![p] = Down] /\ log' = Buried(p)
    /\ UNCHANGED <<confirmed, holder, records, late, left>>

Step == \E p \in Instances :
    \/ Acquire(p) \/ Read(p) \/ Check(p) \/ Stream(p) \/ SendRecord(p) \/ AppendRecord(p) \/ Confirm(p) \/ Reconnect(p) \/ Quit(p)
    \/ \E q \in Partitions : Deliver(p, q)

(* ------------------------------------------------------ faults ----------------------------------------------- *)

\* Of each partition's queue a prefix has been appended before, by Deliver; the rest is lost.
Crash(p) ==
    /\ left.crash > 0 /\ inst[p].state # "down"
    /\ left' = [left EXCEPT !.crash = @ - 1]
    /\ inst' = [inst EXCEPT ![p] = Down] /\ log' = Buried(p)
    /\ holder' = IF holder = p THEN Nobody ELSE holder
    /\ UNCHANGED <<confirmed, records, late>>

\* The server takes the slot away, or the connection breaks; the process runs on and may be paused for any time.
LoseSlot ==
    /\ left.lose > 0 /\ holder # Nobody
    /\ left' = [left EXCEPT !.lose = @ - 1]
    /\ holder' = Nobody
    /\ UNCHANGED <<confirmed, log, records, inst, late>>

\* After a crash of the server the slot may be back at an older position.
ServerCrash ==
    /\ left.server > 0
    /\ left' = [left EXCEPT !.server = @ - 1]
    /\ holder' = Nobody
    /\ \E older \in 0..confirmed : confirmed' = older
    /\ UNCHANGED <<log, records, inst, late>>

Next == Step \/ LoseSlot \/ ServerCrash \/ \E p \in Instances : Crash(p)
Spec == Init /\ [][Next]_vars
FairSpec == Spec /\ WF_vars(Step)

(* ------------------------------------------------- what must hold -------------------------------------------- *)

UpTo(position) == UNION {MessagesOf(t) : t \in 1..position}

\* Design 11 (2): the slot never passes what Kafka has together with the progress record.
ConfirmedIsInKafka == UpTo(confirmed) \subseteq InLog
ConfirmedIsRecorded == \A r \in Newest : confirmed <= Position(r)
\* A progress record, of whatever age, tells the truth.
RecordsAreTrue == \A r \in records \union {inst[p].pending : p \in Instances} : UpTo(r.position) \subseteq InLog

\* Design 11 (1): nothing twice and nothing out of order, for a reader of read_uncommitted too. What one has appended
\* after losing the slot to another may be there twice; nothing else is, not even then.
OnceButForZombies ==
    \A q \in Partitions : \A i, j \in 1..Len(log[q]) :
        i < j /\ log[q][i].message = log[q][j].message => log[q][i].message \in late
InOrder ==
    \A q \in Partitions : Increasing([o \in 1..Len(SelectSeq(log[q], LAMBDA e : e.message \notin late)) |->
                              SelectSeq(log[q], LAMBDA e : e.message \notin late)[o].message])
\* Without a zombie the promise has no exception.
NoZombie == left.lose = Faults.lose /\ left.server = Faults.server => late = {}

\* Design 11 (1): once faults stop, everything gets to Kafka and the slot lets go of the WAL.
AllArrives == <>[](confirmed = Last /\ InLog = Messages)
=============================================================================
