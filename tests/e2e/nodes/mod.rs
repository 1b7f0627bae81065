//! Several nodes on a wire: who may join, how they reach each other and are reached, and what goes on when parts fail.

mod joining;
mod restart;
