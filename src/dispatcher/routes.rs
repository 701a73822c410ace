//! Which handler a message goes to: each topic of a subscription has its own, with its own type of message, told apart
//! by the topic's number and without boxing. Made by `subscribe` and `and`, called once per message.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;

use futures_util::TryFutureExt;
use futures_util::future::{Either, MapErr};

use super::from_message::FromMessage;
use super::message::Message;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The handlers of a subscription, one for each of its topics. Only [`Route`] and [`And`] are such.
pub trait Routes: sealed::Sealed + Send + Sync + 'static {
    /// How many topics.
    #[doc(hidden)]
    const COUNT: usize;
    #[doc(hidden)]
    type Handled: Future<Output = Result<(), BoxError>> + Send + 'static;

    /// Handles a message of the topic of this number.
    #[doc(hidden)]
    fn call(&self, topic: usize, message: Message) -> Self::Handled;
}

/// The handler of one topic, made by [`subscribe`](crate::Dispatcher::subscribe).
pub struct Route<H, M> {
    handler: H,
    argument: PhantomData<fn(M)>,
}

/// The handlers of several topics, made by [`and`](crate::Subscribe::and).
pub struct And<R, S>(R, S);

impl<H, M> Route<H, M> {
    pub(super) fn new(handler: H) -> Self {
        Self { handler, argument: PhantomData }
    }
}

impl<R, S> And<R, S> {
    pub(super) fn new(first: R, last: S) -> Self {
        Self(first, last)
    }
}

impl<H, M, Fut, E> Routes for Route<H, M>
where
    M: FromMessage + 'static,
    E: Into<BoxError> + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    H: Fn(M) -> Fut + Send + Sync + 'static,
{
    const COUNT: usize = 1;
    type Handled = Either<MapErr<Fut, fn(E) -> BoxError>, Ready<Result<(), BoxError>>>;

    fn call(&self, _: usize, message: Message) -> Self::Handled {
        match M::from_message(message) {
            Ok(argument) => Either::Left((self.handler)(argument).map_err(E::into as fn(E) -> BoxError)),
            Err(unfit) => Either::Right(ready(Err(unfit.into()))),
        }
    }
}

impl<R: Routes, S: Routes> Routes for And<R, S> {
    const COUNT: usize = R::COUNT + S::COUNT;
    type Handled = Either<R::Handled, S::Handled>;

    fn call(&self, topic: usize, message: Message) -> Self::Handled {
        match topic.checked_sub(R::COUNT) {
            None => Either::Left(self.0.call(topic, message)),
            Some(topic) => Either::Right(self.1.call(topic, message)),
        }
    }
}

mod sealed {
    pub trait Sealed {}

    impl<H, M> Sealed for super::Route<H, M> {}

    impl<R, S> Sealed for super::And<R, S> {}
}
