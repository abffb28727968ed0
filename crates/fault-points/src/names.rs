//! Which crash points and bugs there are.

/// A place where the process can be made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Rows are claimed and the claim is committed. A hit a claim that found rows.
    AfterClaim,
    /// A row is about to be given to the transport. A hit a row.
    BeforePublish,
    /// A message was handed to the client library, and nothing was heard of it. A hit a message.
    AfterWriteBeforeConfirm,
    /// The broker has confirmed a message, and the row does not say so yet. A hit a message.
    AfterConfirmBeforeSettle,
    /// The first statement of a settle was executed, and its transaction is open. A hit a settle.
    InSettle,
    /// Everything of an inbound batch was written, and nothing is committed. A hit a batch.
    AfterInsertBeforeCommit,
    /// An inbound batch is committed; neither the broker nor the spool of MQTT was told. A hit a batch.
    AfterCommitBeforeAck,
    /// An inbound batch was acknowledged, over MQTT: removed from the spool. A hit a batch.
    AfterAck,
    /// The worker was told to stop: a hit when it is, with work in hand, and another one before its last heartbeat.
    InShutdown,
}

/// A mistake that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A row counts as published as soon as its message was handed to the client library.
    PublishedBeforeConfirm,
    /// A batch is acknowledged before it is stored.
    AcknowledgedBeforeCommit,
    /// RabbitMQ's confirm of a message is taken for that of the next one, where there is a next one. It shows where some
    /// messages of a batch are taken and some are not: requests that nobody is bound for, among events.
    DeliveryTagOffByOne,
    /// Two message ids that differ in case only are taken for one.
    CaseInsensitiveIds,
}

#[cfg(feature = "fault-injection")]
impl Point {
    /// All there are, in the order in which a message gets to them.
    pub const ALL: [Self; 9] = [
        Self::AfterClaim,
        Self::BeforePublish,
        Self::AfterWriteBeforeConfirm,
        Self::AfterConfirmBeforeSettle,
        Self::InSettle,
        Self::AfterInsertBeforeCommit,
        Self::AfterCommitBeforeAck,
        Self::AfterAck,
        Self::InShutdown,
    ];

    /// Its name in `POSTROAD_CRASH_AT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterClaim => "after_claim",
            Self::BeforePublish => "before_publish",
            Self::AfterWriteBeforeConfirm => "after_write_before_confirm",
            Self::AfterConfirmBeforeSettle => "after_confirm_before_settle",
            Self::InSettle => "in_settle",
            Self::AfterInsertBeforeCommit => "after_insert_before_commit",
            Self::AfterCommitBeforeAck => "after_commit_before_ack",
            Self::AfterAck => "after_ack",
            Self::InShutdown => "in_shutdown",
        }
    }
}

#[cfg(feature = "fault-injection")]
impl Bug {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::PublishedBeforeConfirm,
        Self::AcknowledgedBeforeCommit,
        Self::DeliveryTagOffByOne,
        Self::CaseInsensitiveIds,
    ];

    /// Its name in `POSTROAD_BUG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PublishedBeforeConfirm => "published_before_confirm",
            Self::AcknowledgedBeforeCommit => "acknowledged_before_commit",
            Self::DeliveryTagOffByOne => "delivery_tag_off_by_one",
            Self::CaseInsensitiveIds => "case_insensitive_ids",
        }
    }
}
