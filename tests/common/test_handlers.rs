//! The behaviour of a program with `--test-handlers`, as its peers see it.

use actix_peer::{Outgoing, Over, Peer, Replies, RequestError, frame::Frame, link::Reason};

/// A program as its peers see it.
struct Asked<'a> {
    by: Peer,
    address: &'a str,
    over: Over,
}

impl Asked<'_> {
    async fn begin(&self, code: &'static str, data: &str) -> Replies {
        let question = Outgoing::from(Frame::text(code, data)).over(self.over);
        self.by.request(self.address, question).await.unwrap()
    }

    async fn ask(&self, code: &'static str, data: &str) -> Result<Vec<Frame>, RequestError> {
        self.begin(code, data).await.collect().await
    }

    async fn answers(&self, text: &str) {
        let answer = self.ask("ECHO", text).await.unwrap();
        assert_eq!(answer, [Frame::text("ECHO", text)], "over {:?}", self.over);
    }

    /// The caller gets the error that the handler failed, over either protocol.
    async fn fails(&self, code: &'static str) {
        match self.ask(code, "").await {
            Ok(answer) => panic!("{code} over {:?}: {answer:?}", self.over),
            Err(RequestError::Reset { reason, .. }) => {
                assert_eq!(reason, Reason::HANDLER_FAILED, "{code}: {reason}");
            }
            Err(error) => panic!("{code} over {:?}: {error}", self.over),
        }
    }
}

async fn each_promise(address: &str) {
    for over in [Over::Classic, Over::Link] {
        let asked = Asked { by: Peer::builder().start().await.unwrap(), address, over };
        asked.answers("before").await;
        // Each panic fails only its request, and a second panic has the same effect.
        for code in ["BOOM", "BOO2", "BOOM", "BOO2", "BOO2"] {
            asked.fails(code).await;
            asked.answers("still there").await;
        }
        // The same without a caller that waits for a reply.
        for code in ["BOOM", "BOO2", "SINK"] {
            let message = Outgoing::from(Frame::text(code, "")).over(over);
            asked.by.notify(address, message).await.unwrap();
            asked.answers("still there").await;
        }
        // More slow requests than a sequential handler could serve during this test.
        let mut slow = Vec::new();
        for _ in 0..8 {
            slow.push(asked.begin("SLOW", "60000").await);
        }
        asked.answers("not held up").await;
        assert_eq!(asked.ask("SLOW", "1").await.unwrap(), [Frame::text("REPL", "1")]);
        drop(slow);
        for wrong in ["soon", "-1", "60001", "99999999999999999999"] {
            let answer = asked.ask("SLOW", wrong).await.unwrap();
            assert_eq!(
                answer,
                [Frame::text("ERRO", "Slow: the data must be 0 to 60000 milliseconds")]
            );
        }
        // Longer than any frame that is read whole.
        let len = 3 << 20;
        let data = tokio::io::AsyncReadExt::take(tokio::io::repeat(7), len);
        let message = Outgoing::body("SINK", u32::try_from(len).unwrap(), data).over(over);
        let answer = asked.by.request(address, message).await.unwrap().collect().await.unwrap();
        assert_eq!(answer, []);
        asked.answers("after").await;
        asked.by.stop().await;
    }
}

/// Calls each test handler, in classic exchanges and over a link. Panics if one of them affects
/// another request.
pub(crate) fn keep_the_program_serving(address: &str) {
    actix_rt::System::new().block_on(each_promise(address));
}
