import { Field, FieldResolver, ObjectType, Query, Resolver, Root } from 'type-graphql';
import { dataSchemaOf, eventCatalogue } from '../domain/eventCatalogue.js';
import { exampleDelivery } from '../domain/eventExamples.js';
import { type EventType, eventTypes } from '../domain/events.js';
import { JSONScalar } from './scalars.js';

@ObjectType('EventTypeDescription')
export class EventTypeDescriptionType {
  @Field(() => String, { description: 'As it stands in a webhook and in `BillingEvent.type`' })
  type!: string;

  @Field(() => String, { description: 'When it happens' })
  description!: string;

  @Field(() => String, { description: 'The object that `data` is: invoice, subscription, wallet …' })
  resource!: string;
}

/** The catalogue, for whoever has a token: it says nothing of any account. */
@Resolver(() => EventTypeDescriptionType)
export class EventTypesResolver {
  @FieldResolver(() => JSONScalar, { description: 'The body of a webhook of this type: type, timestamp and data' })
  example(@Root() { type }: { type: EventType }): unknown {
    return exampleDelivery(type);
  }

  @FieldResolver(() => JSONScalar, { description: 'JSON Schema (draft 2020-12) of `data`' })
  schema(@Root() { type }: { type: EventType }): unknown {
    return dataSchemaOf(type);
  }

  @Query(() => [EventTypeDescriptionType], {
    description: 'Every type of event that is emitted, in the order of the docs',
  })
  eventTypes(): { type: EventType; description: string; resource: string }[] {
    return eventTypes.map((type) => {
      const { when, resource } = eventCatalogue[type];
      return { type, description: when, resource };
    });
  }
}
