//! A client behind a slow link. Its time limits are shorter here than what a large event takes, as the real ones are on a
//! link of 64 kbit/s: scaled by ten.

use std::time::Duration;

use livestore_sync_client::protocol::Args;
use livestore_sync_client::{Protocol, SyncClient, Timing};
use livestore_sync_client_tests::proxy::SlowLink;
use livestore_sync_client_tests::{PROTOCOLS, connected, events, numbers, within};

const BYTES_PER_SECOND: u32 = 80_000;
const EVENT_BYTES: usize = 320_000;

fn timing() -> Timing {
    let mut timing = livestore_sync_client_tests::timing();
    timing.ping_interval = Duration::from_secs(2);
    timing.ping_timeout = Duration::from_secs(1);
    timing.push_timeout = Duration::from_secs(3);
    timing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_event_takes_its_time_in_both_directions() {
    let through = async |protocol: Protocol| {
        let server = livestore_sync_client_tests::start().await;
        let link = SlowLink::start(server.address, BYTES_PER_SECOND).await;
        let client = || {
            let builder = SyncClient::builder(format!("http://{}", link.address), "notes");
            // Compressed it would take no time.
            builder.compression(false).timing(timing()).protocol(protocol).start().expect("a client")
        };
        let mut batch = events(1..=1);
        batch[0].args = Args::from_json(format!("\"{}\"", "x".repeat(EVENT_BYTES))).expect("JSON");
        let pusher = client();
        connected(&pusher).await;
        let mut state = pusher.connection();
        state.mark_unchanged();
        within(pusher.push(batch)).await.expect("it arrives");
        assert!(!state.has_changed().expect("it runs"), "{protocol:?}: it was offline");
        pusher.close().await;
        let puller = client();
        connected(&puller).await;
        let mut state = puller.connection();
        state.mark_unchanged();
        let mut pull = puller.pull(None);
        assert_eq!(numbers(&within(pull.next()).await.expect("a page").expect("pulls").events), [1]);
        assert!(!state.has_changed().expect("it runs"), "{protocol:?}: it was offline");
    };
    let [first, second, third] = PROTOCOLS;
    tokio::join!(through(first), through(second), through(third));
}
