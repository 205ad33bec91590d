//! Several stores at once, which end up equal.

use std::collections::HashSet;

use livestore_sync_client::local::LocalStore;
use tempfile::TempDir;

use crate::support::MemoryBackend;
use crate::support::app::{add, items, options, soon, until};

/// SplitMix64.
fn below(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % limit
}

/// The real tasks and threads; what happens is from a seed, when it happens is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_converge_whatever_the_network_does() {
    for seed in 0..12 {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut random = seed;
    let (folder, backend) = (TempDir::new().unwrap(), MemoryBackend::default());
    backend.lock().page_events = 1 + below(&mut random, 7) as usize;
    let path = |store: usize| folder.path().join(format!("{store}.db"));
    let open = async |store: usize| LocalStore::open(path(store), backend.clone(), options()).await.unwrap();
    let mut stores = Vec::new();
    for store in 0..3 {
        stores.push(open(store).await);
    }
    let mut expected = HashSet::new();
    for n in 0..150 {
        let store = below(&mut random, 3) as usize;
        match below(&mut random, 12) {
            0..=5 => {
                let texts: Vec<_> = (0..1 + below(&mut random, 3)).map(|i| format!("{store}-{n}-{i}")).collect();
                stores[store].commit(texts.iter().map(add)).await.unwrap();
                expected.extend(texts);
            }
            6 => backend.lock().lose_answers += 1,
            7 => backend.lock().fail_pushes += 1,
            8 => backend.go_offline(),
            9 => backend.go_online(),
            10 => {
                drop(stores.remove(store));
                stores.insert(store, open(store).await);
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(below(&mut random, 4))).await,
        }
    }
    backend.go_online();
    for store in &stores {
        soon(store.flush()).await.unwrap();
    }
    let log = backend.texts();
    assert_eq!(log.len(), expected.len(), "seed {seed}: nothing is lost or doubled");
    assert_eq!(log.iter().cloned().collect::<HashSet<_>>(), expected, "seed {seed}");
    for store in &stores {
        until(store, |status| status.head.get() as usize == log.len()).await;
        assert_eq!(items(store).await, log, "seed {seed}");
    }
}
