//! Reports the events of a link to the application and to the other side.

use crate::{
    frame::TypeCode,
    limits::Misbehavior,
    link::{Reason, Role},
    node::{Direction, PeerEvent, Refusal, log::Sanitized},
    session::{exchange::InExchange, state::Session},
};

impl Session {
    pub(super) const fn direction(&self) -> Direction {
        match self.role {
            Role::Dialler => Direction::Out,
            Role::Acceptor => Direction::In,
        }
    }

    pub(super) fn report_opened(&self) {
        self.node.counters.links_opened.one();
        tracing::debug!(peer = %Sanitized(&self.peer), direction = ?self.direction(), "link opened");
        self.node
            .emit(&PeerEvent::LinkOpened { peer: self.peer.clone(), direction: self.direction() });
    }

    /// Sends the maximum lengths of messages that have changed since they were sent last.
    pub(super) fn send_lengths(&self) {
        self.with(|state| {
            let lengths = self.routes.unusual_lengths(self.limits.own_whole);
            state.link.send_lengths(&lengths);
        });
    }

    pub(super) fn report_refused(&self, code: TypeCode, reason: Reason, messages: u32) {
        self.node.counters.notify_refused.add(messages.into());
        tracing::debug!(peer = %Sanitized(&self.peer), %code, %reason, messages, "one-way messages refused");
        let peer = self.peer.clone();
        self.node.emit(&PeerEvent::NotifyRefused { peer, code, reason, messages });
    }

    pub(super) fn report_closed(&self, reason: Reason) {
        tracing::debug!(peer = %Sanitized(&self.peer), direction = ?self.direction(), %reason, "link closed");
        self.node.emit(&PeerEvent::LinkClosed {
            peer: self.peer.clone(),
            direction: self.direction(),
            reason,
        });
    }

    /// Refuses an exchange of the other side, and ends it.
    pub(super) fn refuse(&self, exchange: InExchange, refusal: Refusal) {
        self.note_refusal(exchange.code, refusal, 1);
        self.with(|state| state.link.reset(exchange.id, refusal.reason()));
    }

    /// Refuses one-way messages: those in one frame, or one in `exchange`.
    pub(super) fn refuse_one_ways(&self, exchange: InExchange, refusal: Refusal, messages: usize) {
        let InExchange { id, code, .. } = exchange;
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        self.note_refusal(code, refusal, messages);
        let reason = refusal.reason();
        self.with(|state| state.link.refuse_one_ways(id, code, reason, messages));
    }

    /// Refuses a message that turns out to be too long after its handler has received its
    /// beginning.
    pub(super) fn refuse_begun(&self, exchange: InExchange) {
        let InExchange { id, code, request } = exchange;
        self.note_refusal(code, Refusal::TooLong, 1);
        let reason = Reason::TOO_LONG_BEGUN;
        self.with(|state| {
            if request {
                state.link.reset(id, reason);
            } else {
                state.link.refuse_one_ways(id, code, reason, 1);
            }
        });
    }

    /// Refuses one message: a request, or a one-way message.
    pub(super) fn refuse_one(&self, exchange: InExchange, refusal: Refusal) {
        if exchange.request {
            self.refuse(exchange, refusal);
        } else {
            self.refuse_one_ways(exchange, refusal, 1);
        }
    }

    fn note_refusal(&self, code: TypeCode, refusal: Refusal, messages: u32) {
        self.node.refuse_some(self.sender.address(), Some(code), refusal, messages);
        if let Some(what) = refusal.offence(code) {
            self.offended(what);
        }
    }

    /// Counts misbehavior of the other side.
    pub(super) fn offended(&self, what: Misbehavior) {
        self.node.offended(self.sender.address(), self.sender.proven(), what);
    }
}
