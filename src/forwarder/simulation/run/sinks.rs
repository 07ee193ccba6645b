//! The sinks, as they come, go, deliver and ask.

use super::{
    super::{
        super::delivery::Breakage,
        far_side::{FarSide, Line},
        history::note,
        hub::Hub,
        listener::Asked,
        port::{Port, Request, Surroundings},
        site::Site,
        truth::Place,
    },
    Run, Waiting,
};
use crate::{
    journal::{SinkName, Wanted},
    outbox::RejectError,
};

impl Run {
    pub(super) fn attach(&mut self, site: Site) {
        let name = SinkName::new(site.name).unwrap();
        let registering =
            |it: &Waiting| matches!(it, Waiting::Register { sink, .. } if *sink == name);
        if self.ports.contains_key(&name) || self.waiting.iter().any(registering) {
            return;
        }
        let salt = self.dice.roll();
        self.far_sides.entry(name.clone()).or_insert_with(|| {
            let hub = site.has_hub.then(|| Hub::new(name.clone()));
            FarSide::new(site.kind, hub, salt)
        });
        self.truth
            .places
            .entry(name.clone())
            .or_insert_with(|| Place {
                required: site.required,
                ..Place::default()
            });
        let wanted = Wanted {
            required: site.required,
            window: self.window.into(),
            start: site.start,
        };
        self.collect();
        let Ok(life) = self.scribe().life_of(&name) else {
            return;
        };
        let cursor = self.scribe().register(&name, wanted, site.has_hub);
        self.waiting.push(Waiting::Register {
            sink: name,
            cursor,
            life: site.has_hub.then_some(life),
        });
        self.flush();
    }

    pub(super) fn detach(&mut self, name: &SinkName) {
        self.ports.remove(name);
        self.far_sides.get_mut(name).unwrap().cut(&mut self.dice);
        self.scribe().detach(name);
    }

    pub(super) fn forget(&mut self) {
        let mut names = self.truth.places.keys();
        let Some(name) = names.find(|name| !self.ports.contains_key(*name)).cloned() else {
            return;
        };
        self.flush();
        if self.ports.contains_key(&name) || !self.truth.places.contains_key(&name) {
            return;
        }
        note(format!("  {name}"));
        self.truth.places.get_mut(&name).unwrap().may_be_gone = true;
        let commits = self.scribe().commits();
        self.storage.record();
        let forgotten = self.scribe().forget(&name);
        self.probe_recorded();
        match forgotten {
            Ok(forgotten) => {
                assert!(forgotten.is_some(), "{name} has a place");
                self.committed(commits);
                assert!(
                    !self.truth.places.contains_key(&name),
                    "{name} is still there"
                );
            }
            Err(()) => self.broken(),
        }
    }

    /// The line fails, and the task hears of it.
    pub(super) fn lose(&mut self, name: &SinkName, breakage: Breakage) {
        let port = self.ports.get_mut(name).unwrap();
        let far_side = self.far_sides.get_mut(name).unwrap();
        let had = far_side.line != Line::Down || port.delivery.has_session();
        far_side.cut(&mut self.dice);
        if had {
            port.fail(breakage, self.now);
        }
    }

    pub(super) fn pump_all(&mut self) {
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for name in names {
            self.with_port(&name, Port::pump);
        }
    }

    pub(super) fn with_port<T>(
        &mut self,
        name: &SinkName,
        act: impl FnOnce(&mut Port, &mut Surroundings<'_>) -> T,
    ) -> T {
        let mut around = Surroundings {
            scribe: self
                .scribe
                .as_ref()
                .expect("a process runs between operations"),
            truth: &mut self.truth,
            far_side: self.far_sides.get_mut(name).unwrap(),
            dice: &mut self.dice,
            now: self.now,
            wants_tail: false,
        };
        let value = act(self.ports.get_mut(name).unwrap(), &mut around);
        if around.wants_tail {
            self.tell(name);
        }
        value
    }

    /// The hub is told how far the journal goes, where the broker brings it that.
    fn tell(&mut self, name: &SinkName) {
        let tail = self.scribe().tail();
        let hub = self.far_sides.get_mut(name).and_then(|it| it.hub.as_mut());
        if let Some(hub) = hub.filter(|_| self.calm || self.dice.below(4) > 0) {
            hub.take_tail(&tail);
        }
    }

    /// The hub takes in what waits for it, and the task looks at what it says. False where nothing
    /// came of it.
    fn listen(&mut self, name: &SinkName) -> bool {
        let far_side = self.far_sides.get_mut(name).unwrap();
        let Some(hub) = &mut far_side.hub else {
            return false;
        };
        if self.calm || self.dice.one_in(4) {
            hub.take(&mut self.dice, self.calm);
        }
        self.with_port(name, Port::listen);
        let listener = self.ports[name].listener.as_ref();
        let is_asking = listener.is_some_and(|it| it.asked.is_some());
        if is_asking {
            self.ask_for_hub(name);
        }
        is_asking
    }

    /// The journal's writer takes up what is asked about the hub's word.
    fn ask_for_hub(&mut self, name: &SinkName) {
        let port = &self.ports[name];
        let turn = port.turn;
        let is_staged = |it: &Waiting| matches!(it, Waiting::Hub { sink, turn: at } if sink == name && *at == turn);
        if self.waiting.iter().any(is_staged) {
            return self.flush();
        }
        let Some(asked) = port.listener.as_ref().and_then(|it| it.asked.clone()) else {
            return;
        };
        self.collect();
        match asked {
            Asked::Life(life, ..) => {
                note(format!("  {name}: life {life:x}"));
                self.scribe().begin_life(name, life);
            }
            Asked::Skip(range) => self.scribe().skip_trimmed(name, range),
        }
        let sink = name.clone();
        self.waiting.push(Waiting::Hub { sink, turn });
        self.flush_perhaps();
    }

    /// One step of a sink: of its task, of the line, or of the other side. False where nothing
    /// could be done but to wait.
    pub(super) fn deliver(&mut self, name: &SinkName) -> bool {
        if self.scribe().is_unread() {
            self.broken();
            return true;
        }
        if self.dice.one_in(2) || self.calm {
            let horizon = self.horizon(name, true);
            let port = self.ports.get_mut(name).unwrap();
            port.delivery.horizon(horizon, self.now);
        }
        self.with_port(name, Port::pump);
        if self.listen(name) {
            return true;
        }
        self.with_port(name, Port::pump);
        let trouble = !self.calm;
        if self.ports[name].request.is_some() && self.dice.one_in(2) {
            self.request(name);
            return true;
        }
        let far_side = self.far_sides.get_mut(name).unwrap();
        match far_side.line {
            Line::Calling if trouble && self.dice.one_in(6) => {
                let breakage = *self.dice.pick(&[Breakage::Retry, Breakage::Halt]);
                self.lose(name, breakage);
            }
            Line::Calling => {
                let footing = far_side.accept();
                let port = self.ports.get_mut(name).unwrap();
                port.delivery.connected(footing);
                if let Some(listener) = &mut port.listener {
                    listener.connected();
                }
            }
            Line::Asking => self.with_port(name, Port::read_back),
            Line::Up if !far_side.is_quiet() => match self.dice.one_in(2) {
                true => far_side.serve(&mut self.dice, trouble),
                false => self.with_port(name, Port::hear),
            },
            Line::Up | Line::Down => {
                let port = &self.ports[name];
                if let Some(deadline) = port.deadline() {
                    self.now = self.now.max(deadline);
                }
                return port.request.is_some();
            }
        }
        self.with_port(name, Port::pump);
        true
    }

    /// The journal's writer takes up what a task asks for.
    pub(super) fn request(&mut self, name: &SinkName) {
        let port = &self.ports[name];
        let (request, turn) = (port.request.unwrap(), port.turn);
        let is_staged = |it: &Waiting| match it {
            Waiting::Claim { sink, turn: at, .. }
            | Waiting::Reject { sink, turn: at, .. }
            | Waiting::ClaimLate { sink, turn: at, .. }
            | Waiting::SettleLate { sink, turn: at } => sink == name && *at == turn,
            _ => false,
        };
        if self.waiting.iter().any(is_staged) {
            return self.flush();
        }
        self.collect();
        let now = self.now;
        match request {
            Request::Claim(upto) => {
                let claimed = self.scribe().claim(name, upto);
                let sink = name.clone();
                self.waiting.push(Waiting::Claim {
                    sink,
                    turn,
                    claimed,
                });
            }
            Request::Reject(seq, code) => match self.scribe().reject(name, seq, code) {
                Ok(()) => {
                    let sink = name.clone();
                    self.waiting.push(Waiting::Reject { sink, turn, seq });
                }
                Err(error) => {
                    let breakage = match error {
                        RejectError::Ledger { .. } => Breakage::Halt,
                        RejectError::Journal(_) => Breakage::Retry,
                    };
                    self.ports.get_mut(name).unwrap().fail(breakage, now);
                }
            },
            Request::ClaimLate(seq, claim) => match self.scribe().claim_retry(name, seq, claim) {
                Ok(may_leave) => {
                    let sink = name.clone();
                    self.waiting.push(Waiting::ClaimLate {
                        sink,
                        turn,
                        may_leave,
                    });
                }
                Err(_) => self.lose(name, Breakage::Retry),
            },
            Request::SettleLate(seq, settled) => {
                match self.scribe().settle_retry(name, seq, settled) {
                    Ok(()) => {
                        let sink = name.clone();
                        self.waiting.push(Waiting::SettleLate { sink, turn });
                    }
                    Err(_) => self.lose(name, Breakage::Retry),
                }
            }
            Request::CaughtUp(yes) => {
                self.scribe().set_caught_up(name, yes);
                let port = self.ports.get_mut(name).unwrap();
                port.request = None;
                port.delivery.told();
            }
        }
        self.flush_perhaps();
    }
}
