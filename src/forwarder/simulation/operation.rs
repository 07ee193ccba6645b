//! What a run does, and how often.

use super::dice::Dice;

/// What a run does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// A new request, now and then one that takes several groups.
    Append,
    /// A request whose outcome nobody knew, under the same ids.
    Retry,
    /// A request that was acknowledged, once more.
    Repeat,
    /// Known ids with other content.
    Conflict,
    /// A program's transaction that is kept.
    Transact,
    /// One that is rolled back.
    RollBack,
    /// Somebody wants dead letters of a sink sent again, and may have mended the other side.
    RetryLetters,
    /// Somebody takes dead letters of a sink off the list.
    DiscardLetters,
    /// Somebody wants a person erased.
    Erase,
    /// Some steps of an erasure that is under way.
    EraseOn,
    /// The file is compacted, whether or not that is worth it.
    Compact,
    /// Makes durable what is staged.
    Flush,
    /// Makes durable what the sinks have learnt.
    Settle,
    /// A sink is configured, or its task begins again.
    Attach,
    /// A sink's task ends; its place stays.
    Detach,
    /// A sink without a task is forgotten.
    Forget,
    /// The task of a sink, the line, and the other side take some steps.
    Deliver,
    /// The line to a sink is cut.
    Cut,
    /// Others write to a stream.
    Bustle,
    /// What was sent over a line that is gone arrives.
    ArriveLate,
    /// A stream is deleted and made again.
    MakeAnew,
    /// A hub takes in what waits for it, or some of that.
    HubTakes,
    /// A hub says how it stands.
    HubSays,
    /// Somebody says in its name what is not true, or not new.
    Lie,
    /// The broker before a hub loses all that it holds.
    WipeBroker,
    /// A hub is restored from a copy.
    RestoreHub,
    /// Nothing happens for a while.
    Wait,
    /// The process ends as it should, and the next one signs with another key.
    ChangeKey,
    /// The process ends as it should, and begins again.
    Restart,
    /// The process is killed between two calls.
    Kill,
    /// The power goes at a call to come.
    PowerCut,
    /// A call to come fails.
    DiskFault,
}

/// Each as often as it is to be drawn.
const OPERATIONS: &[(Operation, u64)] = &[
    (Operation::Append, 30),
    (Operation::Retry, 6),
    (Operation::Repeat, 3),
    (Operation::Conflict, 2),
    (Operation::Transact, 5),
    (Operation::RollBack, 2),
    (Operation::RetryLetters, 3),
    (Operation::DiscardLetters, 2),
    (Operation::Erase, 1),
    (Operation::EraseOn, 4),
    (Operation::Compact, 1),
    (Operation::Flush, 14),
    (Operation::Settle, 3),
    (Operation::Attach, 5),
    (Operation::Detach, 1),
    (Operation::Forget, 1),
    (Operation::Deliver, 64),
    (Operation::Cut, 3),
    (Operation::Bustle, 2),
    (Operation::ArriveLate, 2),
    (Operation::MakeAnew, 1),
    (Operation::HubTakes, 4),
    (Operation::HubSays, 4),
    (Operation::Lie, 5),
    (Operation::WipeBroker, 2),
    (Operation::RestoreHub, 2),
    (Operation::Wait, 3),
    (Operation::ChangeKey, 2),
    (Operation::Restart, 1),
    (Operation::Kill, 1),
    (Operation::PowerCut, 3),
    (Operation::DiskFault, 3),
];

impl Operation {
    /// One of them.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut left = dice.below(OPERATIONS.iter().map(|(_, often)| often).sum());
        for (operation, often) in OPERATIONS {
            if left < *often {
                return *operation;
            }
            left -= often;
        }
        unreachable!("what is drawn is below the sum")
    }
}
