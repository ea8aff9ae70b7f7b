------------------------------- MODULE Source -------------------------------
(* What both delivery models share: the source's committed transactions, the partitions of Kafka, and the slot.  *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Transactions,  \* the committed transactions in commit order: for each, the partitions of its messages
    Instances,     \* the processes that may run the task
    Faults,        \* how often each fault may happen: a record of numbers
    Broken         \* which rules of the protocol are left out; {} is the protocol

Nobody == 0        \* holds the slot when no instance does
Last == Len(Transactions)
Alike == Permutations(Instances)  \* for TLC: which of the instances does something makes no difference

\* A message is named by its position: <<transaction, ordinal>>, both from 1.
MessagesOf(t) == {<<t, i>> : i \in DOMAIN Transactions[t]}
Messages == UNION {MessagesOf(t) : t \in 1..Last}
PartitionOf(m) == Transactions[m[1]][m[2]]
Partitions == {PartitionOf(m) : m \in Messages}
Before(m, n) == m[1] < n[1] \/ (m[1] = n[1] /\ m[2] < n[2])
First(ms) == CHOOSE m \in ms : \A n \in ms : n = m \/ Before(m, n)

Max(numbers) == CHOOSE n \in numbers : \A k \in numbers : k <= n
Min(numbers) == CHOOSE n \in numbers : \A k \in numbers : k >= n
Increasing(seq) == \A i \in 1..(Len(seq) - 1) : Before(seq[i], seq[i + 1])

\* The messages `ms` in the order of the source, as a sequence.
RECURSIVE Ordered(_)
Ordered(ms) == IF ms = {} THEN <<>> ELSE LET m == First(ms) IN <<m>> \o Ordered(ms \ {m})

(* Workloads for the configurations. A transaction without messages is one whose rows the task does not select. *)
TwoByTwo == <<<<1, 2>>, <<2, 1>>>>
Three == <<<<1, 2>>, <<2>>, <<1>>>>
ThreeByTwo == <<<<1, 2>>, <<2, 1>>, <<1, 2>>>>
WithEmpty == <<<<1, 2>>, <<>>, <<2, 1>>>>
Four == <<<<1, 2>>, <<2>>, <<1>>, <<2, 1>>>>
OnePartition == <<<<1>>, <<1>>, <<1>>>>
Pair == <<<<1, 2>>, <<1>>>>
Short == <<<<1>>, <<1>>>>
=============================================================================
