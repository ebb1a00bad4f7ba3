//! A node that goes while clients come.

use std::time::Duration;

use tidegate_tests::{Ssh, until};

use crate::fleet::Fleet;
use crate::load::{Client, Load};

const LIMIT: Duration = Duration::from_secs(60);

/// Far more than the balancer needs to notice and than a login takes that has begun by then.
const DELAY: (&str, &str) = ("TIDEGATE_DRAIN__DELAY", "4s");

#[test]
fn a_node_that_drains_gets_no_new_client_and_no_login_is_refused() {
    const CLIENTS: usize = 3;
    let mut fleet = Fleet::start(3, &[DELAY]);
    let ssh = Ssh::new(&fleet.login());
    // The host key, so that no two clients write it down at once.
    ssh.sftp("pwd\n").ok();
    let client = |load: &Load| {
        while !load.is_over() {
            ssh.sftp("pwd\n").ok();
            load.add();
        }
    };
    let clients = (0..CLIENTS).map(|_| Box::new(client) as Client<'_>);
    Load::run(clients, |load| {
        let connections = |fleet: &Fleet| [0, 1, 2].map(|place| fleet.balancer.server(place).connections);
        let before = connections(&fleet);
        load.wait_for(3 * CLIENTS);
        let now = connections(&fleet);
        assert!((0..3).all(|place| now[place] > before[place]), "each node has its share: {before:?}, {now:?}");

        fleet.signal(1, "TERM");
        until("the node says that it goes", LIMIT, || {
            fleet.node(1).get("/readyz").is_some_and(|(status, _)| status == 503).then_some(())
        });
        until("the balancer has noticed", LIMIT, || (fleet.balancer.server(1).status == "DOWN").then_some(()));
        let before = connections(&fleet);
        load.wait_for(3 * CLIENTS);
        fleet.wait_for_end(1);
        let now = connections(&fleet);
        assert!(now[0] > before[0] && now[2] > before[2], "the others go on: {before:?}, {now:?}");
        assert_eq!(now[1], before[1], "nobody is sent to a node that goes");

        fleet.replace(1);
        load.wait_for(3 * CLIENTS);
        assert!(connections(&fleet)[1] > now[1], "the new node has its share");
    });
}
