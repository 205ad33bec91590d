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
    /// A `WeakMap` of numbers.
    type Places;

    #[wasm_bindgen(constructor, js_class = "WeakMap")]
    fn new() -> Places;

    /// NaN where there is none.
    #[wasm_bindgen(method)]
    fn get(this: &Places, socket: &JsValue) -> f64;

    #[wasm_bindgen(method)]
    fn set(this: &Places, socket: &JsValue, place: f64);
}

pub(super) struct Conversations {
    by_id: RefCell<HashMap<Uuid, Rc<Conversation>>>,
    /// By the place that [`places`](Self::places) has for a socket.
    by_place: RefCell<HashMap<u32, Rc<Conversation>>>,
    /// JavaScript's own sockets know theirs: the platform has one object per socket for as long as that is held here, and
    /// to ask it for a socket's tags costs more than most frames.
    places: Places,
    next_place: Cell<u32>,
}

impl Conversations {
    pub(super) fn new() -> Self {
        Self {
            by_id: RefCell::default(),
            by_place: RefCell::default(),
            places: Places::new(),
            next_place: Cell::new(0),
        }
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
        self.places.set(key(peer.link.socket()), place.into());
        self.by_place.borrow_mut().insert(place, Rc::clone(&conversation));
        self.by_id.borrow_mut().insert(peer.connection.id, Rc::clone(&conversation));
        conversation
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Rc<Conversation>> {
        self.by_id.borrow().get(&id).cloned()
    }

    /// That of a socket; `None` when it has ended.
    pub(super) fn find(&self, socket: &WebSocket) -> Option<Rc<Conversation>> {
        self.by_place.borrow().get(&self.place(socket)?).cloned()
    }

    pub(super) fn remove(&self, conversation: &Conversation) {
        let peer = conversation.peer();
        self.by_id.borrow_mut().remove(&peer.connection.id);
        if let Some(place) = self.place(peer.link.socket()) {
            self.by_place.borrow_mut().remove(&place);
        }
    }

    fn place(&self, socket: &WebSocket) -> Option<u32> {
        let place = self.places.get(key(socket));
        (!place.is_nan()).then_some(place as u32)
    }
}

fn key(socket: &WebSocket) -> &JsValue {
    socket.as_ref().as_ref()
}
