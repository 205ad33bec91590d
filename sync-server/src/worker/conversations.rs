//! The conversations of an object's sockets. Made and asked by `open_store`; knows nothing of what they say.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use uuid::Uuid;
use worker::WebSocket;
use worker::wasm_bindgen;
use worker::wasm_bindgen::prelude::*;

use super::open_store::Conversation;

#[wasm_bindgen(wasm_bindgen = wasm_bindgen)]
extern "C" {
    /// A socket with a property of ours.
    type Placed;

    /// NaN where there is none. `durable-object.mjs` reads it as well.
    #[wasm_bindgen(method, getter, js_name = livestorePlace)]
    fn place(this: &Placed) -> f64;

    #[wasm_bindgen(method, setter, js_name = livestorePlace)]
    fn set_place(this: &Placed, place: f64);
}

pub(super) struct Conversations {
    by_id: RefCell<HashMap<Uuid, Rc<Conversation>>>,
    /// By a number that each socket of JavaScript has as a property: the platform has one object per socket for as long as
    /// that is held here, and to ask it for a socket's tags costs more than most frames.
    by_place: RefCell<HashMap<u32, Rc<Conversation>>>,
    next_place: Cell<u32>,
}

impl Conversations {
    pub(super) fn new() -> Self {
        Self { by_id: RefCell::default(), by_place: RefCell::default(), next_place: Cell::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.borrow().len()
    }

    pub(super) fn all(&self) -> Vec<Rc<Conversation>> {
        self.by_id.borrow().values().cloned().collect()
    }

    pub(super) fn insert(&self, conversation: Conversation) -> Rc<Conversation> {
        let conversation = Rc::new(conversation);
        let peer = conversation.peer();
        let place = self.next_place.replace(self.next_place.get().wrapping_add(1));
        placed(peer.link.socket()).set_place(place.into());
        self.by_place.borrow_mut().insert(place, Rc::clone(&conversation));
        self.by_id.borrow_mut().insert(peer.connection.id, Rc::clone(&conversation));
        conversation
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Rc<Conversation>> {
        self.by_id.borrow().get(&id).cloned()
    }

    /// That of a socket; `None` when it has ended.
    pub(super) fn find(&self, socket: &WebSocket) -> Option<Rc<Conversation>> {
        self.at(place(socket)?)
    }

    /// That of the socket with this number.
    pub(super) fn at(&self, place: u32) -> Option<Rc<Conversation>> {
        self.by_place.borrow().get(&place).cloned()
    }

    pub(super) fn remove(&self, conversation: &Conversation) {
        let peer = conversation.peer();
        self.by_id.borrow_mut().remove(&peer.connection.id);
        if let Some(place) = place(peer.link.socket()) {
            self.by_place.borrow_mut().remove(&place);
        }
    }
}

fn place(socket: &WebSocket) -> Option<u32> {
    let place = placed(socket).place();
    (!place.is_nan()).then_some(place as u32)
}

fn placed(socket: &WebSocket) -> &Placed {
    let socket: &JsValue = socket.as_ref().as_ref();
    socket.unchecked_ref()
}
